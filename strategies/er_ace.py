"""ER-ACE (Caccia et al., "New Insights on Reducing Abrupt Representation Change in Online CL", ICLR 2022).

In the source new rows compete only among their own classes, and memory rows among all, in a softmax. With sigmoids no
class competes with another. DECIDED: what is left is which entries are known: new rows teach the task's classes, memory
rows all seen ones. The source adds the means of both halves of a step, which is twice the mean of clsim.
"""

from __future__ import annotations

from typing import Any, ClassVar

from clsim import kit


class ERACE(kit.Strategy):
    """Asymmetric replay: new rows do not train old classes, and each step has as many memory rows as new rows.

    Its options are those of its parts: strategy.finetune.old_classes, strategy.er.selection and so on.
    """

    name = "er-ace"
    made_of: ClassVar[tuple[str, ...]] = ("finetune", "er")
    part_options: ClassVar[dict[str, Any]] = {"finetune.old_classes": "ignore", "er.replay": "paired"}
    family = "replay"
    year = 2022
    stores = "memory rows: images and their labels"
    cost = "memory rows in each step, as er with paired replay"
    bib = """@inproceedings{caccia2022new,
  author = {Caccia, Lucas and Aljundi, Rahaf and Asadi, Nader and Tuytelaars, Tinne and Pineau, Joelle and
            Belilovsky, Eugene},
  title = {New Insights on Reducing Abrupt Representation Change in Online Continual Learning},
  booktitle = {International Conference on Learning Representations},
  year = {2022},
}"""
