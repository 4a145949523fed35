"""Distillation of tokens: those of earlier tasks keep their direction (the token loss of KRT, ICCV 2023)."""

from __future__ import annotations

import math
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from clsim.training.learner import Learner
from clsim.training.plugin import Plugin
from clsim.training.snapshot import Snapshot


def token_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean over rows of 1 - cos(student, teacher), each row's tokens being one vector.

    It is computed as half the squared distance of unit vectors, which is exactly 0 for equal tokens.

    Args:
        student: float [B, K, e].
        teacher: float [B, K, e].
    """
    one, other = (F.normalize(tokens.flatten(1), dim=1) for tokens in (student, teacher))
    return (one - other).square().sum(dim=1).mean() / 2


def token_weight(weight: float, n_seen: int, n_new: int) -> float:
    """Return weight * sqrt(n_seen / n_new), of the classes seen so far and those of the task."""
    return weight * math.sqrt(n_seen / n_new)


class TokenDistillation(Plugin):
    """Adds the weighted `token_loss` of earlier tasks' tokens, from the second task on.

    Args:
        weight: lambda; see `token_weight`.
        snapshot: the run's, whose model is the teacher; from `Context.snapshot`. Its head is a `TokenHead`.
    """

    def __init__(self, weight: float, snapshot: Snapshot) -> None:
        super().__init__()
        self.weight = weight
        self.snapshot = snapshot

    def before_backward(self, learner: Learner, **kwargs: Any) -> None:
        teacher, student = self.snapshot.outputs(learner), learner.outputs.tokens
        if teacher is not None and teacher.tokens is not None and student is not None:
            task = learner.experience
            factor = token_weight(self.weight, len(task.classes_seen_so_far), len(task.classes_in_this_experience))
            term = token_loss(student[:, : teacher.tokens.shape[1]], teacher.tokens)
            learner.add_loss("tokens", factor * term)

    def state_dict(self) -> dict[str, Any]:
        return {}  # the teacher belongs to the snapshot
