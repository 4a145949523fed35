"""The state of a run, from what its process, or this one, has written so far."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from clsim.errors import RunError
from clsim.preparation import Work
from clsim.running.preparation_file import read_preparation
from clsim.running.run_folder import RunFolder
from clsim.strict_json import Tail, read_lines
from clsim.vocabulary import SEEN_MAP

Status = Literal["waiting", "running", "finished", "reused", "pruned", "interrupted", "failed"]


@dataclass
class RunState:
    """The state of a run, from the lines of its `metrics.jsonl` and the end of its process.

    It counts epochs. A run without epochs counts its tasks instead, each once it is scored.

    Attributes:
        total: epochs of the whole run; of a run without epochs its tasks.
        tasks: tasks of the whole run.
        status: reused: finished by an earlier comparison; pruned: given up, because others do better.
        reason: why it failed or was interrupted.
        done: epochs done.
        before: epochs that cost this process nothing: done by an earlier one, or by a run that shares the first task.
        seen_map: mAP over seen classes after the last finished task, percent.
        work: its work before training; None: it trains, or has reported nothing.
        began, trains_since, marked, heard, ended: when it was started, began to train, did its last epoch (or began to
            train), wrote its last line, and ended; seconds of `time.monotonic`.
        recorded_pace: seconds per epoch, of tasks that an earlier comparison has finished.
        has_epochs: whether its tasks have epochs.
    """

    total: int
    tasks: int = 1
    status: Status = "running"
    reason: str = ""
    done: int = 0
    before: int = 0
    seen_map: float | None = None
    work: Work | None = None
    began: float | None = None
    trains_since: float | None = None
    marked: float | None = None
    heard: float | None = None
    ended: float | None = None
    recorded_pace: float | None = None
    has_epochs: bool = True

    @classmethod
    def of(cls, epochs: int, tasks: int, status: Status = "running") -> RunState:
        """Return the state of a run with so many epochs per task, perhaps none."""
        return cls(max(1, epochs) * tasks, tasks, status, has_epochs=epochs > 0)

    def __post_init__(self) -> None:
        if self.status == "running":
            self.start()

    def start(self, shared: int = 0) -> None:
        """Record that a process begins or continues the run; the first `shared` epochs are those of another run."""
        self.status = "running"
        self.before = max(self.done, shared)
        self.began = self.marked = time.monotonic()
        self.work = self.trains_since = None

    def prepare(self, work: Work | None) -> None:
        """Record the work before training; None: from now on the run trains."""
        self.work = work
        if work is None and self.trains_since is None:
            self.trains_since = self.marked = time.monotonic()

    def take(self, line: dict[str, Any]) -> None:
        """Record a line of `metrics.jsonl`."""
        self.heard = time.monotonic()
        if line["phase"] == ("train" if self.has_epochs else "eval"):
            self.done = line["step"]
            self.work = None
            self.marked = self.heard
        if line["phase"] == "eval":
            self.seen_map = line["values"][SEEN_MAP]

    def end(self, status: Status, reason: str = "") -> None:
        """Record that the process has ended."""
        self.status, self.reason, self.ended = status, reason, time.monotonic()
        self.work = None

    @property
    def epochs(self) -> int:
        """Epochs per task; 1 for a run without."""
        return self.total // self.tasks

    @property
    def unit(self) -> str:
        """What `done` and `total` count."""
        return "epochs" if self.has_epochs else "tasks"

    @property
    def task(self) -> int:
        """The task being trained, counted from 1."""
        return min(self.tasks, self.done // self.epochs + 1)

    @property
    def elapsed(self) -> float | None:
        """Seconds since it was started, or until it ended; None if this comparison has not started it."""
        return None if self.began is None else (self.ended or time.monotonic()) - self.began

    @property
    def trains(self) -> bool:
        """Whether the run has begun to train."""
        return self.trains_since is not None or self.done > self.before

    @property
    def pace(self) -> float | None:
        """Seconds per epoch, evaluation within; None before the first one.

        Work that is done once does not count: work before training that the process reports, such as decoding images,
        and the end of the process.
        """
        since = self.began if self.trains_since is None else self.trains_since
        if since is None or self.marked is None or self.done <= self.before:
            return self.recorded_pace
        until = self.marked if self.ended is None or self.heard is None else self.heard
        return (until - since) / (self.done - self.before)


class MetricsTail:
    """Keeps a state up to date with another process, by reading the new lines of its `metrics.jsonl`."""

    def __init__(self, folder: Path, state: RunState) -> None:
        self.folder = folder
        self.lines = Tail(RunFolder(folder).metrics)
        self.state = state

    def read(self) -> None:
        """Record the new lines; one that is not a line of metrics is passed over."""
        if self.state.status == "running" and self.state.trains_since is None:
            with suppress(LookupError):
                self.state.prepare(read_preparation(self.folder))
        lines, began_anew = self.lines.read()  # a run that goes on drops what came after its checkpoint
        if began_anew:
            self.state.done = 0
        for line in lines:
            with suppress(KeyError, TypeError):
                self.state.take(line)
        if began_anew:
            self.state.before = self.state.done


def recorded_pace(folder: Path, epochs: int) -> float | None:
    """Return the seconds per epoch of a run's finished tasks, evaluation included; None if `timing.jsonl` has none.

    Args:
        epochs: per task; 1 for a run without.
    """
    try:
        lines = read_lines(RunFolder(folder).timing)
        return sum(line["train_seconds"] + line["eval_seconds"] for line in lines) / (epochs * len(lines)) or None
    except (OSError, RunError, KeyError, TypeError, ZeroDivisionError):
        return None
