"""Relational distillation: how alike two images are is to stay what it was (the relational term of EmoGrowth)."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from clsim.errors import RunError
from clsim.training.learner import Learner
from clsim.training.plugin import Plugin
from clsim.training.snapshot import Snapshot


def relational(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean squared difference of two models' similarities over all pairs of rows.

        L = 2 / (B (B - 1)) sum_{i < j} (S_ij - T_ij)^2,   S_ij = cos(f_i - mean f_i, f_j - mean f_j)

    DECIDED: centred means that each embedding loses its own mean, so S is Pearson's correlation of two embeddings; a
    pair counts once.

    Args:
        student: embeddings f, float [B, d].
        teacher: those of the other model, float [B, h]; no gradient flows into them.

    Returns:
        A scalar; 0 for fewer than two rows.
    """
    difference = _similarities(student) - _similarities(teacher.detach())
    pairs = len(student) * (len(student) - 1) / 2
    return difference.triu(diagonal=1).square().sum() / max(1.0, pairs)


def _similarities(embeddings: Tensor) -> Tensor:
    unit = F.normalize(embeddings - embeddings.mean(dim=1, keepdim=True), dim=1)
    return unit @ unit.T


class RelationalDistillation(Plugin):
    """Adds `weight` times `relational` of the embeddings of a batch, from the second task on.

    An embedding is what the head reads, as one vector.

    Args:
        weight: factor of the term.
        snapshot: the run's, whose model is the teacher; from `Context.snapshot`.
    """

    def __init__(self, weight: float, snapshot: Snapshot) -> None:
        super().__init__()
        self.weight = weight
        self.snapshot = snapshot

    def before_backward(self, learner: Learner, **kwargs: Any) -> None:
        """Add the term.

        Raises:
            RunError: a run on several ranks, which has no pairs of rows of two ranks.
        """
        teacher = self.snapshot.outputs(learner)
        if teacher is None:
            return
        if learner.batch_rows != len(learner.mb_x):
            raise RunError("relational compares all rows of a batch with each other and cannot run on several ranks")
        term = relational(learner.outputs.embedding.flatten(1), teacher.embedding.flatten(1))
        learner.add_loss("relational", self.weight * term)

    def state_dict(self) -> dict[str, Any]:
        return {}  # the teacher belongs to the snapshot
