"""Memory aware synapses (Aljundi et al., "Memory Aware Synapses: Learning What (not) to Forget", ECCV 2018).

clsim's own: a run with Avalanche's plugin cannot be resumed, and its importances are a running mean of tasks.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from clsim import kit


class MAS(kit.Strategy):
    """Penalise changes of weights that influence the logits strongly; needs no labels (MAS).

    Equations: `clsim.training.importances.MemoryAwareSynapses`. The default weight is the authors'; search it on a log
    grid.
    """

    name = "mas"
    claims: ClassVar[frozenset[str]] = frozenset({"weights"})
    family = "regularisation"
    year = 2018
    stores = "a copy and an importance of each weight"
    cost = "a pass with gradients over the rows of a task after it; a penalty per step"
    bib = """@inproceedings{aljundi2018memory,
  author = {Aljundi, Rahaf and Babiloni, Francesca and Elhoseiny, Mohamed and Rohrbach, Marcus and Tuytelaars, Tinne},
  title = {Memory Aware Synapses: Learning What (not) to Forget},
  booktitle = {European Conference on Computer Vision},
  year = {2018},
}"""
    whole_task = "measures importances on"

    class Options(kit.Options):
        weight: float = Field(1.0, ge=0, description="factor of the penalty (lambda)")
        per: Literal["batch", "row"] = Field(
            "batch", description="absolute gradients of batches, or of each row, which takes a pass per row"
        )
        decay: float = Field(1.0, ge=0, le=1, description="what earlier importances keep when a task's are added")

    options: Options

    def plugins(self, context: kit.Context) -> list[kit.Plugin]:
        from clsim.training.importances import MemoryAwareSynapses

        return [MemoryAwareSynapses(self.options.weight, self.options.per, self.options.decay)]

    def first_task_key(self) -> str | None:
        return ""  # the penalty begins with the second task
