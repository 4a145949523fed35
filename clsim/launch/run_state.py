"""How far a run is: what its process, or this one, has written so far."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Status = Literal["waiting", "running", "finished", "reused", "interrupted", "failed"]


@dataclass
class RunState:
    """How far a run is, from the lines of its `metrics.jsonl` and from what becomes of its process.

    Attributes:
        total: epochs of the whole run.
        tasks: tasks of the whole run.
        status: reused: finished by an earlier comparison.
        reason: why it failed or was interrupted.
        done: epochs done.
        before: epochs that cost this process nothing: done by an earlier one, or by a run that shares the first task.
        seen_map: mAP over seen classes after the last finished task, percent.
        began, marked, ended: when it was started, did its last epoch, and ended; seconds of `time.monotonic`.
        recorded_pace: seconds an epoch, of a run that another comparison has timed.
    """

    total: int
    tasks: int = 1
    status: Status = "running"
    reason: str = ""
    done: int = 0
    before: int = 0
    seen_map: float | None = None
    began: float | None = None
    marked: float | None = None
    ended: float | None = None
    recorded_pace: float | None = None

    def __post_init__(self) -> None:
        if self.status == "running":
            self.start()

    def start(self, shared: int = 0) -> None:
        """A process begins to run it, or to go on with it; the first `shared` epochs are those of another run."""
        self.status = "running"
        self.before = max(self.done, shared)
        self.began = self.marked = time.monotonic()

    def take(self, line: dict[str, Any]) -> None:
        """A line of `metrics.jsonl`."""
        if line["phase"] == "train":
            self.done = line["step"]
            self.marked = time.monotonic()
        elif line["phase"] == "eval":
            self.seen_map = line["values"]["mAP/seen"]

    def end(self, status: Status, reason: str = "") -> None:
        """Its process has ended."""
        self.status, self.reason, self.ended = status, reason, time.monotonic()

    @property
    def epochs(self) -> int:
        """Epochs of a task."""
        return self.total // self.tasks

    @property
    def task(self) -> int:
        """The task being trained, counted from 1."""
        return min(self.tasks, self.done // self.epochs + 1)

    @property
    def elapsed(self) -> float | None:
        """Seconds since it was started, or until it ended; None if this comparison has not started it."""
        return None if self.began is None else (self.ended or time.monotonic()) - self.began

    @property
    def pace(self) -> float | None:
        """Seconds an epoch, start and evaluation within; None before the first one."""
        if self.began is None or self.marked is None or self.done <= self.before:
            return self.recorded_pace
        return ((self.ended or self.marked) - self.began) / (self.done - self.before)


class MetricsTail:
    """Brings a state up to date with the `metrics.jsonl` that another process writes, reading only what is new."""

    def __init__(self, folder: Path, state: RunState) -> None:
        self.path = folder / "metrics.jsonl"
        self.state = state
        self.offset = 0

    def read(self) -> None:
        """Take the lines that have come; a half-written last one waits, a damaged one counts for nothing."""
        try:
            with self.path.open("rb") as file:
                began_anew = file.seek(0, 2) < self.offset  # a run that goes on drops what came after its checkpoint
                if began_anew:
                    self.offset, self.state.done = 0, 0
                file.seek(self.offset)
                lines, newline, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:
            return
        self.offset += len(lines) + len(newline)
        for text in lines.splitlines():
            try:
                self.state.take(json.loads(text))
            except (ValueError, KeyError, TypeError):
                continue
        if began_anew:
            self.state.before = self.state.done


def recorded_pace(folder: Path, epochs: int) -> float | None:
    """Seconds an epoch of a finished run, evaluation within, from its `timing.jsonl`; None where that says nothing."""
    try:
        lines = (folder / "timing.jsonl").read_text(encoding="utf-8").splitlines()
        return sum(line["train_seconds"] + line["eval_seconds"] for line in map(json.loads, lines)) / epochs or None
    except (OSError, ValueError, KeyError, TypeError):
        return None
