"""LwF-MC, the baseline of Rebuffi et al. ("iCaRL", CVPR 2017): iCaRL's training without exemplars.

Its loss is that of `lwf`, but for a mean over classes where clsim has a sum.
"""

from __future__ import annotations

from typing import ClassVar

from clsim import kit


class LwFMC(kit.Strategy):
    """Another name of `lwf`: one sigmoid per class, with distillation of old classes."""

    name = "lwf-mc"
    made_of: ClassVar[tuple[str, ...]] = ("lwf",)
    family = "distillation"
    year = 2017
    stores = "the model before the task"
    cost = "the cost of lwf"
    bib = """@inproceedings{rebuffi2017icarl,
  author = {Rebuffi, Sylvestre-Alvise and Kolesnikov, Alexander and Sperl, Georg and Lampert, Christoph H.},
  title = {{iCaRL}: Incremental Classifier and Representation Learning},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
  year = {2017},
}"""
