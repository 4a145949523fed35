"""DER and DER++ for several labels and a growing head.

Buzzega, Boschini, Porrello, Abati, Calderara: "Dark Experience for General Continual Learning: a Strong, Simple
Baseline", NeurIPS 2020.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from clsim import kit


class DERpp(kit.Strategy):
    """Hold logits of memory rows at their values when stored (DER++; beta 0: DER). Combine it: `er+derpp`.

    loss = L(N) + beta L(R) + alpha / B sum over rows i of R of the mean over columns c < S_i of (z_ic - zhat_ic)^2

    L is the run's classification loss over new rows N and memory rows R, each a sum / B. zhat_i are the logits of row i
    when it was stored, over the S_i classes that the head had then; later columns have no such term.

    DECIDED: the same memory rows for both terms, as `er` draws them, without a second forward pass; the authors draw
    twice. zhat is taken when the memory takes the row in, in evaluation mode, of the image as it is, as Avalanche's DER
    does; the authors keep logits of the training step before the row is stored. zhat is never renewed. Unknown labels
    of memory rows follow `er`; the term also speaks where a label is unknown, so that with `lwf` beside it unknown old
    classes of memory rows are distilled twice. The mean over columns is the authors', who have it beside one
    cross-entropy per row: the loss of the task's own classes is that of a few columns, and a sum over all columns would
    outgrow it as classes come. alpha 0.5 is that of a multi-label port (DDP), beta 1 makes alpha 0 the host.
    """

    name = "derpp"
    needs: ClassVar[frozenset[str]] = frozenset({"memory"})
    family = "replay"
    year = 2020
    stores = "logits beside each memory row"
    cost = "a forward pass over the rows that the memory takes in"
    bib = """@inproceedings{buzzega2020dark,
  author = {Buzzega, Pietro and Boschini, Matteo and Porrello, Angelo and Abati, Davide and Calderara, Simone},
  title = {Dark Experience for General Continual Learning: a Strong, Simple Baseline},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2020},
}"""

    class Options(kit.Options):
        alpha: float = Field(0.5, ge=0, description="factor of the squared distance between logits and stored logits")
        beta: float = Field(1.0, ge=0, description="factor of the classification loss of memory rows; 0: DER")

    options: Options

    def plugins(self, context: kit.Context) -> list[kit.Plugin]:
        return [kit.StoredLogits(self.options.alpha, self.options.beta)]

    def bytes_beside_row(self, n_classes: int) -> int:
        return 4 * n_classes

    def first_task_key(self) -> str | None:
        return ""  # the memory is empty until the first task ends
