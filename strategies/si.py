"""Synaptic intelligence (Zenke, Poole, Ganguli: "Continual Learning Through Synaptic Intelligence", ICML 2017).

clsim's own: Avalanche's plugin keeps views of the live weights on a CPU, where all its importances are 0.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from clsim import kit


class SI(kit.Strategy):
    """A quadratic penalty on weights whose changes during training lowered the loss.

    Equations: `clsim.training.importances.SynapticIntelligence`. DECIDED: `weight` and `damping` are those of common
    code for softmax losses (0.5 and 1); this loss sums over classes, so search `weight` on a log grid.
    """

    name = "si"
    claims: ClassVar[frozenset[str]] = frozenset({"weights"})
    family = "regularisation"
    year = 2017
    stores = "a copy and an importance of each weight"
    cost = "a sum per weight and a penalty in each step"
    bib = """@inproceedings{zenke2017continual,
  author = {Zenke, Friedemann and Poole, Ben and Ganguli, Surya},
  title = {Continual Learning Through Synaptic Intelligence},
  booktitle = {International Conference on Machine Learning},
  year = {2017},
}"""

    class Options(kit.Options):
        weight: float = Field(0.5, ge=0, description="factor of the penalty (c)")
        damping: float = Field(1.0, gt=0, description="added to the squared way of a weight (xi)")

    options: Options

    def plugins(self, context: kit.Context) -> list[kit.Plugin]:
        from clsim.training.importances import SynapticIntelligence

        return [SynapticIntelligence(self.options.weight, self.options.damping)]

    def first_task_key(self) -> str | None:
        return None  # steps of the first task already change the importances
