"""What the process that trains tells the one that scores. Everything is copied; nothing in it leads back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clsim.errors import ClsimError
from clsim.training.image_count import ImageCount, ScoreEvery
from clsim.training.learner import Position

Value = tuple[str, Any, int]
"""Tag, value and step of a number."""


@dataclass(frozen=True)
class Beginning:
    """What stays as it is during a run.

    Attributes:
        memories: number of its replay memories.
        train_epochs: of a task.
        score_every: as in `MultiLabelTemplate`.
    """

    memories: int
    train_epochs: int
    score_every: ScoreEvery


@dataclass
class Answer:
    """What a method of the desk returns, which may be still to come.

    Attributes:
        take: takes the answers that have come, in their order; given True, it waits for at least one.
        known: whether it has come.
        value: of the answer that has come.
    """

    take: Callable[[bool], None]
    known: bool = False
    value: Any = None

    def ready(self) -> bool:
        """Return whether it has come, without waiting for it.

        Raises:
            Exception: what this call, or an earlier one, has raised at the desk.
        """
        if not self.known:
            self.take(False)
        return self.known

    def get(self) -> Any:
        """Wait for it, and return its value.

        Raises:
            Exception: what this call, or an earlier one, has raised at the desk.
        """
        while not self.known:
            self.take(True)
        return self.value


@dataclass(frozen=True)
class Wanted:
    """What the process that scores wants handed in.

    Attributes:
        labels: whether it looks at the labels of replay memories.
        samples: images of a picture of rows just trained; 0: there are no such pictures.
        pictures: after which tasks, see `is_pictured`.
    """

    labels: bool
    samples: int
    pictures: str


@dataclass(frozen=True)
class WrittenLabels:
    """The content of a replay memory: row, column and value of each label, and where it is from; see `Memory`."""

    rows: NDArray[np.int64]
    labels: NDArray[np.float32]
    provenance: NDArray[np.int16]
    stored_by: NDArray[np.int64]


@dataclass(frozen=True)
class TrainingSample:
    """What a picture shows of rows just trained.

    Attributes:
        targets: float32 [n, C], what they show.
        scores: float32 [n, S], logits.
    """

    targets: NDArray[np.float32]
    scores: NDArray[np.float32]


@dataclass(frozen=True)
class Pass:
    """A pass over the evaluation stream.

    Attributes:
        rows: int64 [M], row ids.
        logits: float32 [M, S].
        sizes: of what is kept of earlier tasks.
        reports: what plugins report.
        memories: one per replay memory; empty inside a task.
        written: plugin -> row ids, columns and values of labels that it has written elsewhere; see `Plugin`.
        sample: None: no picture is due; an error: the rows cannot be read.
    """

    rows: NDArray[np.int64]
    logits: NDArray[np.float32]
    sizes: list[Value] = field(default_factory=list)
    reports: list[Value] = field(default_factory=list)
    memories: list[WrittenLabels] = field(default_factory=list)
    written: dict[str, tuple[NDArray[Any], ...]] = field(default_factory=dict)
    sample: TrainingSample | ClsimError | None = None


@dataclass(frozen=True)
class Event:
    """Something that metrics and loggers are told.

    Attributes:
        name: of the event, as Avalanche calls it.
        position: of the run.
        images: new images that the run has trained on, in all and in the task.
        values: measured where the run trains.
        scored: of an evaluation; None: nothing was scored.
    """

    name: str
    position: Position
    images: ImageCount = field(default_factory=ImageCount)
    values: list[Value] = field(default_factory=list)
    scored: Pass | None = None
