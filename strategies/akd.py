"""AKD, the loss-level half of RebLL (Du et al., "Rebalancing Multi-Label Class-Incremental Learning", AAAI 2025)."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Literal

from pydantic import Field

from clsim import kit


class AKD(kit.Strategy):
    """Asymmetric knowledge distillation: emphasise negatives, weaken over-confident predictions of the teacher.

        L = L_cls + kd_weight * L_kd,   see `emphasised_negatives` and `decayed_distillation` in
        clsim.training.losses.binary

    The first task has no teacher: L = L_cls. With gamma = 0 and decay = 0 it is `lwf`, bit for bit. L_cls is a form of
    binary cross-entropy of its own, whatever the scenario's loss; `classification: scenario` takes that one instead.
    """

    name = "akd"
    claims: ClassVar[frozenset[str]] = frozenset({"criterion", "old_classes", "distillation"})
    leaves: ClassVar[dict[str, str]] = {"old_classes": "completion"}
    family = "distillation"
    year = 2025
    stores = "the model before the task"
    cost = "a forward pass of that model in each step"
    bib = """@inproceedings{du2025rebalancing,
  author = {Du, Kaile and Zhou, Yifan and Lyu, Fan and Li, Yuyang and Xie, Junzhou and Shen, Yixi and Hu, Fuyuan and
            Liu, Guangcan},
  title = {Rebalancing Multi-Label Class-Incremental Learning},
  booktitle = {AAAI Conference on Artificial Intelligence},
  year = {2025},
}"""

    class Options(kit.Options):
        classification: Literal["emphasised", "scenario"] = Field(
            "emphasised", description="the classification term: AKD's own, or training.loss, and then gamma has no part"
        )
        gamma: float = Field(
            1.0, ge=0, description="how much confident positives count less in the classification term"
        )
        decay: float = Field(1.0, ge=0, description="lambda: how much confident teacher predictions count less")
        decay_on: Literal["both", "positive"] = Field(
            "both", description="the decay multiplies the whole distillation entry, or its positive half"
        )
        kd_weight: float = Field(1.0, ge=0, description="factor of the distillation term")
        old_classes: Literal["distil", "negative", "ignore"] = Field(
            "distil", description="unknown old classes of new images: from the teacher, read as absent, or left out"
        )

    options: Options

    def criterion(self) -> Any:
        if self.options.classification == "scenario":
            return None
        return partial(kit.emphasised_negatives, gamma=self.options.gamma)

    def plugins(self, context: kit.Context) -> list[kit.Plugin]:
        loss = partial(kit.decayed_distillation, decay=self.options.decay, on=self.options.decay_on)
        policy = [kit.OldClassesOfNewRows(self.options.old_classes)] if self.decides("old_classes") else []
        return [
            *policy,
            kit.Distillation(loss, self.options.kd_weight, context.snapshot),
        ]

    def first_task_key(self) -> str | None:
        return f"akd gamma={self.options.gamma}" if self.options.classification == "emphasised" else ""
