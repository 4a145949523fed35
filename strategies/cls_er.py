"""CLS-ER (Arani, Sarfraz, Zonooz: "Learning Fast, Learning Slow", ICLR 2022), the name of a composition."""

from __future__ import annotations

from typing import Any, ClassVar

from clsim import kit


class CLSER(kit.Strategy):
    """Replay one memory row per new row from a reservoir, and keep two slow means of the weights.

    Its options are those of its parts: strategy.slow-learners.weight, strategy.er.selection and so on.
    """

    name = "cls-er"
    made_of: ClassVar[tuple[str, ...]] = ("er", "slow-learners")
    part_options: ClassVar[dict[str, Any]] = {"er.replay": "paired", "er.selection": "reservoir"}
    family = "replay"
    year = 2022
    stores = "memory rows and two copies of the network"
    cost = "the cost of er and slow-learners"
