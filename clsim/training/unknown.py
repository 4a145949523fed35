"""What an unknown entry of a batch means: an explicit policy, never an accident of a loss."""

from __future__ import annotations

from typing import Any, Literal

from avalanche.core import SupervisedPlugin
from torch import Tensor

OldClasses = Literal["distil", "negative", "ignore"]


def assume_negative(targets: Tensor, rows: Tensor, start: int, stop: int) -> None:
    """Write 0 over unknown entries of `rows` in columns [start, stop), in place.

    Args:
        targets: float [B, C]; -1 unknown.
        rows: bool [B].
    """
    block = targets[:, start:stop]
    block[rows[:, None] & (block < 0)] = 0.0


class OldClassesOfNewRows(SupervisedPlugin):
    """Policy for the unknown old classes of this task's own images.

    distil leaves them to a teacher, negative reads them as absent, ignore leaves them out of every loss.
    """

    def __init__(self, policy: OldClasses) -> None:
        super().__init__()
        self.policy = policy

    def before_forward(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        new = ~strategy.replayed
        if self.policy == "negative":
            assume_negative(strategy.mb_y, new, 0, len(strategy.experience.previous_classes))
        elif self.policy == "ignore":
            strategy.distillable &= ~new

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing changes during a run."""
