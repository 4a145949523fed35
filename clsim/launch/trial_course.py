"""The course of a trial while its runs are at work."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from clsim.running.run_folder import RunFolder
from clsim.strict_json import Tail
from clsim.vocabulary import SEEN_MAP


class Course:
    """The scores of a trial after each task, and whether it is given up for them.

    DECIDED: a task counts once every seed of the trial has done it. After the last task there is nothing left to save.

    Args:
        folders: of the trial's runs, one per seed.
        tasks: of a run.
        prunes: called with the mean over the seeds of `mAP/seen` after each task so far, whenever there is a new one.

    Attributes:
        pruned: whether it is given up.
    """

    def __init__(self, folders: Sequence[Path], tasks: int, prunes: Callable[[list[float]], bool]) -> None:
        self.tasks, self.prunes = tasks, prunes
        self.tails = [Tail(RunFolder(folder).metrics) for folder in folders]
        self.scores: list[list[float | None]] = [[] for _ in folders]
        self.shown = 0
        self.pruned = False

    def look(self) -> bool:
        """Read what is new, and tell whether the trial is given up."""
        if self.pruned:
            return True
        for scores, tail in zip(self.scores, self.tails, strict=True):
            lines, began_anew = tail.read()
            if began_anew:
                scores.clear()
            scores += [line["values"].get(SEEN_MAP) for line in lines if line.get("phase") == "eval"]
        course: list[float] = []
        for values in list(zip(*self.scores, strict=False))[: self.tasks - 1]:
            known = [value for value in values if value is not None]
            if len(known) < len(values):  # undefined, and so no reason to give up
                break
            course.append(statistics.fmean(known))
        if len(course) > self.shown:
            self.shown = len(course)
            self.pruned = self.prunes(course)
        return self.pruned
