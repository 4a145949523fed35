"""RCLP, the preset of a composition (Ceccon et al., "Multi-Label Continual Learning for the Medical Domain: A Novel
Benchmark", WACV 2025, arXiv 2404.06859).

DECIDED: the memory's size and selection are the scenario's and `er`'s; the authors keep 3 % of all rows, drawn at
random with an equal share for each task: `rclp(selection=random)`. The authors' term between features has no gradient
in their code and is left out; their two halves of a step are one mean over its rows, as everywhere in clsim.
"""

from __future__ import annotations

from typing import Any, ClassVar

from clsim import kit


class RCLP(kit.Strategy):
    """Pseudo-labels at the threshold of best F1: old classes of new rows, and new classes of stored rows (RCLP).

    Its options are those of its parts: strategy.pseudo.rest, strategy.er.selection, strategy.or.fallback and so on.
    """

    name = "rclp"
    made_of: ClassVar[tuple[str, ...]] = ("pseudo", "er", "or")
    part_options: ClassVar[dict[str, Any]] = {
        "pseudo.rule": "f1",
        "er.replay": "paired",
        "er.current_classes": "ignore",
        "or.threshold": "f1",
    }
    family = "labels"
    year = 2025
    stores = "memory rows, the model before the task and a threshold per class"
    cost = "the cost of pseudo, er and or"
