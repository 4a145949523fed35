"""Features of the network held near those it had before the task (POD-flat)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity
from torch.utils.hooks import RemovableHandle

from clsim.training.learner import Learner
from clsim.training.plugin import Plugin
from clsim.training.snapshot import Snapshot


def pod_flat(student: Tensor, teacher: Tensor) -> Tensor:
    """Return 1/B sum_i (1 - cos(h_i, h_i of the teacher)), scalar.

    Args:
        student, teacher: h, what a head reads, float [B, d]; no gradient flows into the teacher's.
    """
    return (1 - cosine_similarity(student, teacher.detach())).sum() / max(1, len(student))


class FeatureDistillation(Plugin):
    """Adds `weight` sqrt(S / classes of the task) * `pod_flat` on all rows of a batch, from the second task on.

    Args:
        weight: factor of the term, lambda_f.
        snapshot: the run's, whose model is the teacher; from `Context.snapshot`.
    """

    def __init__(self, weight: float, snapshot: Snapshot) -> None:
        super().__init__()
        self.weight = weight
        self.snapshot = snapshot
        self._student: Tensor | None = None
        self._hook: RemovableHandle | None = None

    def before_forward(self, learner: Learner, **kwargs: Any) -> None:
        """Have the head tell what it reads in this step's forward pass, with its graph."""
        if self.snapshot.model is not None:
            self._hook = learner.model.head.register_forward_pre_hook(self._read)

    def _read(self, head: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._student = inputs[0].float()

    def after_forward(self, learner: Learner, **kwargs: Any) -> None:
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def before_backward(self, learner: Learner, **kwargs: Any) -> None:
        teacher = self.snapshot.on(learner.device)
        if teacher is None or self._student is None:
            return
        with torch.no_grad():
            answer = learner.logits(teacher.trunk, learner.mb_x)
        task = learner.experience
        factor = self.weight * math.sqrt(len(task.classes_seen_so_far) / max(1, len(task.classes_in_this_experience)))
        learner.add_loss("features", factor * pod_flat(self._student, answer))
        self._student = None

    def state_dict(self) -> dict[str, Any]:
        return {}  # the teacher belongs to the snapshot
