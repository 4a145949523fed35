"""Gradient compensation, one part of KBK (arXiv 2608.30316, the journal form of HCP, Zhang et al., AAAI 2025)."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from clsim import kit


class CGC(kit.Strategy):
    """Weight the loss of old classes by their error, relative to the mean error of their task's classes in the batch.

        L = 1/B sum psi_ic ASL(p_ic, y_ic),   psi_ic = g_ic / G_m^(sign of y_ic),   g_ic = |p_ic - y_ic|

    for a class of an earlier task m, where G_m^+ and G_m^- are the means of g over the entries of the classes of task m
    that are present and absent in the batch; psi = 1 for the classes of the task being trained. See
    `clsim.training.losses.compensated`. It weighs what labels of old classes there are: those of memory rows (`cgc+er`)
    and those that a part fills (`pseudo+cgc`).

    The ASL is that of the paper, whatever the scenario's loss: focusing 0 of positives and 4 of negatives.
    """

    name = "cgc"
    claims: ClassVar[frozenset[str]] = frozenset({"criterion"})
    family = "imbalance"
    stores = "nothing"
    cost = "almost nothing"
    bib = """@inproceedings{zhang2025specifying,
  author = {Zhang, Aoting and Yang, Dongbao and Liu, Chang and Hong, Xiaopeng and Zhou, Yu},
  title = {Specifying What You Know or Not for Multi-Label Class-Incremental Learning},
  booktitle = {AAAI Conference on Artificial Intelligence},
  year = {2025},
}"""

    class Options(kit.Options):
        gamma_neg: float = Field(4.0, ge=0, description="focusing of negatives; with gamma_pos and clip 0: of bce")
        gamma_pos: float = Field(0.0, ge=0, description="focusing of positives")
        clip: float = Field(0.05, ge=0, lt=1, description="probability below which a negative is dropped (as KRT)")

    options: Options

    def criterion(self) -> Any:
        from clsim.training.losses.compensated import CompensatedLoss

        return CompensatedLoss(self.options.gamma_neg, self.options.gamma_pos, self.options.clip)

    def first_task_key(self) -> str | None:
        return "cgc " + self.options.model_dump_json()  # the criterion, whose weights are all 1 in the first task
