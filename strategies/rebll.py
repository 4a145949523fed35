"""RebLL (Du, Zhou, Lyu, Li, Xie, Shen, Hu, Liu: "Rebalancing Multi-Label Class-Incremental Learning", AAAI 2025)."""

from __future__ import annotations

from typing import ClassVar

from clsim import kit


class RebLL(kit.Strategy):
    """RebLL: asymmetric distillation (AKD), online relabelling of the memory (OR) and replay: `akd+or+er`.

    Its options are those of its parts: strategy.akd.gamma, strategy.or.threshold, strategy.er.selection and so on.
    """

    name = "rebll"
    made_of: ClassVar[tuple[str, ...]] = ("akd", "er", "or")
    family = "replay"
    year = 2025
    stores = "memory rows and the model before the task"
    cost = "the cost of akd, er and or"
