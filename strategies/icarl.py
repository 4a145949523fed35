"""iCaRL's training (Rebuffi, Kolesnikov, Sperl, Lampert: "iCaRL", CVPR 2017), whose sigmoid form is its original.

DECIDED: a given old label of an exemplar stays; the source lets the teacher overwrite it, which a multi-label stream
would pay for with true labels (`icarl(lwf.memory=teacher)` does so). DECIDED: images are scored by the head. The
source's nearest mean of exemplars returns one class per image and has no multi-label form: exemplars of a class show
other classes, too, and a distance to a mean has no threshold.
"""

from __future__ import annotations

from typing import Any, ClassVar

from clsim import kit


class ICaRL(kit.Strategy):
    """The training of iCaRL: distillation of old classes and exemplars by herding; without its nearest-mean classifier.

    Its options are those of its parts: strategy.lwf.weight, strategy.er.replay and so on.
    """

    name = "icarl"
    made_of: ClassVar[tuple[str, ...]] = ("lwf", "er")
    part_options: ClassVar[dict[str, Any]] = {"er.selection": "herding"}
    family = "replay"
    year = 2017
    stores = "memory rows and the model before the task"
    cost = "the cost of lwf and er"
    bib = """@inproceedings{rebuffi2017icarl,
  author = {Rebuffi, Sylvestre-Alvise and Kolesnikov, Alexander and Sperl, Georg and Lampert, Christoph H.},
  title = {{iCaRL}: Incremental Classifier and Representation Learning},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
  year = {2017},
}"""
