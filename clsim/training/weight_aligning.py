"""Head rows of new classes brought to the length of those of old classes (WA)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from clsim.errors import RunError
from clsim.models.head import GrowingHead
from clsim.training.learner import Learner
from clsim.training.plugin import Plugin
from clsim.transfer import sent


class WeightAligning(Plugin):
    """When a task is trained: w_new *= mean of |w_old| / mean of |w_new|; biases stay.

    Attributes:
        gamma: the factor of the task just trained; None where it brought no new class, or there is no old one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gamma: float | None = None

    def finish_model(self, learner: Learner, **kwargs: Any) -> None:
        head, task = learner.model.head, learner.experience
        if not isinstance(head, GrowingHead):
            raise RunError(f"wa: needs the linear head of the scenario's network, given {type(head).__name__}")
        new = [column for column in task.classes_in_this_experience if column not in set(task.previous_classes)]
        self.gamma = None
        if new and task.previous_classes:
            lengths = head.weight.detach().cpu().norm(dim=1)
            self.gamma = float(lengths[task.previous_classes].mean() / lengths[new].mean())
            factors = torch.ones(head.n_classes, 1)
            factors[new] = self.gamma
            with torch.no_grad():
                head.weight.mul_(sent(factors, head.weight.device))

    def report(self, class_names: Sequence[str]) -> dict[str, float]:
        return {} if self.gamma is None else {"wa/gamma": self.gamma}

    def state_dict(self) -> dict[str, Any]:
        return {"gamma": self.gamma}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.gamma = state["gamma"]
