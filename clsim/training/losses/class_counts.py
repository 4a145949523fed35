"""How often a task shows each class: counted on the labels that are visible there, never on hidden truth."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from clsim.errors import RunError
from clsim.training.learner import Learner
from clsim.training.memory.replay import Replay
from clsim.training.plugin import Plugin
from clsim.transfer import sent

LEAST = 0.5
"""DECIDED: half a row stands in where a class has no positive, or no negative, so that every logarithm is finite."""


class ClassCounts(NamedTuple):
    """Numbers of positives and of known labels per class in one epoch of a task.

    Attributes:
        positives: n, float64 [C], rows that show the class; a soft label counts as its value.
        known: N, float64 [C], rows in which the label of the class is known. Where all labels are known, N is the
            number of rows.
    """

    positives: Tensor
    known: Tensor

    @classmethod
    def of(cls, targets: Tensor) -> ClassCounts:
        """Counts of targets float [n, C]: 1 present, 0 absent, (0, 1) soft, -1 unknown."""
        known = targets >= 0
        return cls(torch.where(known, targets, 0.0).double().sum(0), known.double().sum(0))

    def plus(self, other: ClassCounts, weight: float) -> ClassCounts:
        """These counts and `weight` times the others."""
        return ClassCounts(self.positives + weight * other.positives, self.known + weight * other.known)

    def first(self, seen: int, like: Tensor) -> ClassCounts:
        """The first `seen` columns, in the type and on the device of `like`."""
        return ClassCounts(*(sent(counts[:seen].to(like.dtype), like.device) for counts in self))

    def log_odds(self) -> Tensor:
        """log(n / (N - n)) of each class, [C]; 0 where nothing is known."""
        absent = self.known - self.positives
        return self.positives.clamp(min=LEAST).log() - absent.clamp(min=LEAST).log()


class CountedLoss(Plugin):
    """A criterion whose loss needs class counts; as a plugin it counts at the start of each task.

    The counts are those of one epoch of what the learner trains on: the visible labels of the task's rows, each once,
    and the labels stored with the rows of a memory, each as often as the replay shows it. A re-sampled epoch counts as
    a shuffled one does, as the frequencies of the DB loss are those before class-aware sampling.

    DECIDED: what a policy reads into an unknown label (absent; a teacher's opinion) is not counted: it is no label.

    Args:
        loss: function of (logits float [B, S], targets float [B, C], counts) -> scalar.
    """

    def __init__(self, loss: Any) -> None:
        super().__init__()
        self.loss = loss
        self.counts: ClassCounts | None = None

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss with the counts of the current task."""
        if self.counts is None:
            raise RunError("a loss with class frequencies was called before the first task has begun")
        value: Tensor = self.loss(logits, targets, self.counts)
        return value

    def before_training_exp(self, learner: Learner, **kwargs: Any) -> None:
        dataset = learner.adapted_dataset
        counts = ClassCounts.of(learner.store.targets(dataset.rows()))
        replay = learner.find_plugin(Replay)
        if replay is not None:
            stored = ClassCounts.of(torch.from_numpy(replay.memory.labels[replay.memory.trained]))
            counts = counts.plus(stored, replay.turns(len(dataset)))
        self.counts = counts

    def state_dict(self) -> dict[str, Any]:
        return {"counts": None if self.counts is None else self.counts._asdict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.counts = None if state["counts"] is None else ClassCounts(**state["counts"])
