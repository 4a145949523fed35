"""What an unknown entry of a batch means: an explicit policy, never an accident of a loss."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor

from clsim.training.learner import Learner
from clsim.training.plugin import Plugin

OldClasses = Literal["distil", "negative", "ignore"]


def assume_negative(targets: Tensor, rows: Tensor, start: int, stop: int) -> None:
    """Write 0 over unknown entries of `rows` in columns [start, stop), in place.

    Args:
        targets: float [B, C]; -1 unknown.
        rows: bool [B].
    """
    block = targets[:, start:stop]
    block.masked_fill_(rows[:, None] & (block < 0), 0.0)


class OldClassesOfNewRows(Plugin):
    """Policy for the unknown old classes of this task's own images.

    distil leaves them to a teacher, negative reads them as absent, ignore leaves them out of every loss.
    """

    def __init__(self, policy: OldClasses) -> None:
        super().__init__()
        self.policy = policy

    def before_forward(self, learner: Learner, **kwargs: Any) -> None:
        new = ~learner.replayed
        if self.policy == "negative":
            assume_negative(learner.mb_y, new, 0, len(learner.experience.previous_classes))
        elif self.policy == "ignore":
            learner.distillable &= ~new

    def state_dict(self) -> dict[str, Any]:
        return {}
