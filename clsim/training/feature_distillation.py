"""Features of the network held near those it had before the task (POD-flat)."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor
from torch.nn.functional import cosine_similarity

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

    A feature vector is what the head reads, a map as one vector.

    Args:
        weight: factor of the term, lambda_f.
        snapshot: the run's, whose model is the teacher; from `Context.snapshot`.
    """

    def __init__(self, weight: float, snapshot: Snapshot) -> None:
        super().__init__()
        self.weight = weight
        self.snapshot = snapshot

    def before_backward(self, learner: Learner, **kwargs: Any) -> None:
        teacher = self.snapshot.outputs(learner)
        if teacher is None:
            return
        task = learner.experience
        factor = self.weight * math.sqrt(len(task.classes_seen_so_far) / max(1, len(task.classes_in_this_experience)))
        term = pod_flat(learner.outputs.embedding.flatten(1), teacher.embedding.flatten(1))
        learner.add_loss("features", factor * term)

    def state_dict(self) -> dict[str, Any]:
        return {}  # the teacher belongs to the snapshot
