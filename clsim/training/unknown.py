"""What an unknown entry of a batch means: an explicit policy, never an accident of a loss."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

from torch import Tensor

from clsim.training.learner import Learner
from clsim.training.plugin import Plugin
from clsim.vocabulary import UNKNOWN

OldClasses = Literal["distil", "negative", "ignore"]


def assume_negative(targets: Tensor, columns: Sequence[int], rows: Tensor | None = None) -> None:
    """Write 0 over unknown entries in some columns, in place.

    Args:
        targets: float [B, C]; -1 unknown.
        columns: ascending.
        rows: bool [B], where; None: in all.
    """
    for part in runs(tuple(columns)):
        block = targets[:, part]
        unknown = block < 0
        block.masked_fill_(unknown if rows is None else rows[:, None] & unknown, 0.0)


@lru_cache(maxsize=8)
def runs(columns: tuple[int, ...]) -> tuple[slice, ...]:
    """Return ascending columns as slices, of which none touches the next: views, that no device needs to be told of."""
    breaks = [place for place in range(1, len(columns)) if columns[place] != columns[place - 1] + 1]
    starts, stops = [0, *breaks], [*breaks, len(columns)]
    return tuple(slice(columns[a], columns[b - 1] + 1) for a, b in zip(starts, stops, strict=True) if b > a)


class OldClassesOfNewRows(Plugin):
    """Policy for the unknown old classes of this task's own images.

    distil: a teacher decides; negative: they count as absent; ignore: they are left out of every loss.
    """

    def __init__(self, policy: OldClasses) -> None:
        super().__init__()
        self.policy = policy

    def before_forward(self, learner: Learner, **kwargs: Any) -> None:
        if self.policy == "negative":
            assume_negative(learner.mb_y, learner.experience.old_classes, ~learner.replayed)
        elif self.policy == "ignore":
            learner.distillable &= learner.replayed

    def state_dict(self) -> dict[str, Any]:
        return {}


class ForgottenLabels(Plugin):
    """Makes the labels of old classes unknown in memory rows, so that a teacher says all of them (iCaRL)."""

    def before_forward(self, learner: Learner, **kwargs: Any) -> None:
        for part in runs(tuple(learner.experience.old_classes)):
            learner.mb_y[:, part].masked_fill_(learner.replayed[:, None], UNKNOWN)

    def state_dict(self) -> dict[str, Any]:
        return {}
