"""Knowledge distillation from the model as it was after the previous task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from clsim.models.network import MultiLabelNet
from clsim.training.learner import Learner
from clsim.training.plugin import Plugin
from clsim.training.snapshot import Snapshot


class Distillation(Plugin):
    """Add `weight` * loss(student, teacher) on unknown old classes.

    Entries are distilled where the batch does not know the label and no policy has excluded the row
    (`learner.distillable`).

    Attributes:
        answer: the teacher's logits of the current batch, float [B, O] of its O classes; None without a teacher.

    Args:
        loss: function of (student logits [B, S], teacher logits [B, O], where bool [B, O]).
        weight: factor of the term.
        snapshot: the run's, whose model is the teacher; from `Context.snapshot`.
    """

    def __init__(
        self,
        loss: Callable[[Tensor, Tensor, Tensor], Tensor],
        weight: float,
        snapshot: Snapshot,
    ) -> None:
        super().__init__()
        self.loss = loss
        self.weight = weight
        self.snapshot = snapshot
        self.answer: Tensor | None = None

    @property
    def teacher(self) -> MultiLabelNet | None:
        """The frozen model as it was after the previous task; None in the first task."""
        return self.snapshot.model

    def after_forward(self, learner: Learner, **kwargs: Any) -> None:
        outputs = self.snapshot.outputs(learner)
        if outputs is not None:
            self.answer = outputs.logits

    def before_backward(self, learner: Learner, **kwargs: Any) -> None:
        if self.answer is not None:
            where = self.where(learner)
            learner.add_loss("distillation", self.weight * self.loss(learner.mb_output, self.answer, where))

    def where(self, learner: Learner) -> Tensor:
        """Entries of the current batch that the teacher fills, bool [B, O]."""
        assert self.answer is not None
        unknown: Tensor = learner.mb_y[:, : self.answer.shape[1]] < 0
        return unknown & learner.distillable[:, None]

    def state_dict(self) -> dict[str, Any]:
        return {}  # the teacher belongs to the snapshot
