"""Knowledge distillation from the model as it was after the previous task."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from clsim.models.network import MultiLabelNet
from clsim.training.learner import Learner
from clsim.training.plugin import Plugin


class Distillation(Plugin):
    """Adds `weight` * loss(student, teacher) on unknown old classes.

    The teacher is a frozen copy of the model at the end of the previous task; the first task has none. Entries are
    distilled where the batch does not know the label and no policy has excluded the row (`learner.distillable`).

    Attributes:
        teacher: None in the first task.
        answer: what the teacher says of the current batch: logits float [B, O] of its classes; None without one.

    Args:
        loss: function of (student logits [B, S], teacher logits [B, O], where bool [B, O]).
        weight: factor of the term.
        new_model: makes a network of the run's architecture, to load a saved teacher into.
    """

    def __init__(
        self,
        loss: Callable[[Tensor, Tensor, Tensor], Tensor],
        weight: float,
        new_model: Callable[[], MultiLabelNet],
    ) -> None:
        super().__init__()
        self.loss = loss
        self.weight = weight
        self.new_model = new_model
        self.teacher: MultiLabelNet | None = None
        self.answer: Tensor | None = None

    def after_forward(self, learner: Learner, **kwargs: Any) -> None:
        if self.teacher is not None:
            with torch.no_grad():
                self.answer = learner.logits(self.teacher.to(learner.device), learner.mb_x)

    def before_backward(self, learner: Learner, **kwargs: Any) -> None:
        if self.answer is not None:
            where = self.where(learner)
            learner.add_loss("distillation", self.weight * self.loss(learner.mb_output, self.answer, where))

    def where(self, learner: Learner) -> Tensor:
        """Entries of the current batch that the teacher fills, bool [B, O]."""
        assert self.answer is not None
        unknown: Tensor = learner.mb_y[:, : self.answer.shape[1]] < 0
        return unknown & learner.distillable[:, None]

    def after_training_exp(self, learner: Learner, **kwargs: Any) -> None:
        self.teacher = copy.deepcopy(learner.model).eval().requires_grad_(False)

    def state_dict(self) -> dict[str, Any]:
        return {"teacher": None if self.teacher is None else self.teacher.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["teacher"] is None:
            self.teacher = None
            return
        teacher = self.new_model()
        teacher.head.grow(len(state["teacher"]["head.bias"]))
        teacher.load_state_dict(state["teacher"])
        self.teacher = teacher.eval().requires_grad_(False)
