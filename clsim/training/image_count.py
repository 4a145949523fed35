"""How many images a run has trained on, and after how many of them it is scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ScoreEvery = Literal["task", "epoch"] | int
"""When the evaluation stream is scored: after each task; after each epoch, or so many new images of a task, too."""


@dataclass
class ImageCount:
    """New images that a run has trained on, in all (`run`) and in the current task; each time it is trained on counts.

    DECIDED: replayed rows do not count. With a data loader that a stock plugin has put in place of ours nobody can tell
    them apart, and all rows of a batch count.
    """

    run: int = 0
    task: int = 0

    def add(self, n: int, every: ScoreEvery, online: bool) -> bool:
        """Count the n new images of a step; return whether they complete so many that a pass is due.

        Args:
            online: count through the whole run, so that passes are `every` images apart across the ends of tasks, too.
        """
        self.task += n
        self.run += n
        counted = self.run if online else self.task
        return isinstance(every, int) and counted // every > (counted - n) // every
