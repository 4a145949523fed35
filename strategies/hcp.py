"""HCP (Zhang et al., "Specifying What You Know or Not for Multi-Label Class-Incremental Learning", AAAI 2025).

DECIDED: the criterion is the scenario's; for the published one set `training.loss: {name: asl, gamma_pos: 0}`. Blocks
of attention: `class-embeddings.depth` 3 for VOC, 1 (as it is) for COCO.
"""

from __future__ import annotations

from typing import Any, ClassVar

from clsim import kit


class HCP(kit.Strategy):
    """Class embeddings with a randomly mixed unknown class, and pseudo-labels with thresholds by recall: `hcp+er`.

    Its options are those of its parts: strategy.class-embeddings.depth, strategy.pseudo.rule and so on.
    """

    name = "hcp"
    made_of: ClassVar[tuple[str, ...]] = ("class-embeddings", "pseudo")
    part_options: ClassVar[dict[str, Any]] = {"class-embeddings.unknown": "random", "pseudo.rule": "recall"}
    family = "architecture"
    year = 2025
    stores = "the model before the task and a threshold per class"
    cost = "the cost of class-embeddings and pseudo"
