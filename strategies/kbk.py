"""KBK (arXiv 2608.30316), the journal form of HCP, whose entry stands for it: its own title is not known here.

DECIDED: the map is the deep one; see `class-embeddings`. The criterion is that of `cgc`, the paper's asymmetric loss,
whatever `training.loss` says. Blocks of attention: `class-embeddings.depth` 3 for VOC, 1 (as it is) for COCO.
"""

from __future__ import annotations

from typing import Any, ClassVar

from clsim import kit


class KBK(kit.Strategy):
    """Class embeddings with an unknown class, pseudo-labels by uncertainty, and compensated gradients: `kbk+er`.

    Its options are those of its parts: strategy.class-embeddings.depth, strategy.pseudo.rule, strategy.cgc.clip and so
    on.
    """

    name = "kbk"
    made_of: ClassVar[tuple[str, ...]] = ("class-embeddings", "pseudo", "cgc")
    part_options: ClassVar[dict[str, Any]] = {"pseudo.rule": "uncertain"}
    family = "architecture"
    stores = "the model before the task and a threshold per class"
    cost = "the cost of class-embeddings and pseudo"
