"""Experience replay from a memory of partially labelled rows."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from avalanche.core import SupervisedPlugin
from torch import Tensor

from clsim.scenario.stream import RowStore
from clsim.training.memory import Memory
from clsim.training.unknown import assume_negative

Mode = Literal["paired", "concat"]
CurrentClasses = Literal["negative", "ignore"]
OtherClasses = Literal["distil", "negative", "ignore"]


class Replay(SupervisedPlugin):
    """Adds memory rows to the training batches and stores rows after each task.

    Args:
        memory: what is stored.
        store: where the images of row ids are.
        mode: paired adds as many memory rows as new rows to every step; concat adds the memory to the task's data, so
            that a small memory weighs little (the KRT way).
        current_classes: what the unknown classes of the task being trained mean in memory rows: negative or ignore.
        other_classes: what their other unknown classes mean: distil (where there is a teacher), negative or ignore.
    """

    def __init__(
        self, memory: Memory, store: RowStore, mode: Mode, current_classes: CurrentClasses, other_classes: OtherClasses
    ) -> None:
        super().__init__()
        self.memory = memory
        self.store = store
        self.mode = mode
        self.current_classes = current_classes
        self.other_classes = other_classes

    @property
    def nbytes(self) -> int:
        """Bytes of the memory, its images included."""
        return self.memory.nbytes(self.store.image_bytes)

    def before_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        if self.mode == "concat":
            strategy.loader.enlarge(len(self.memory))

    def before_training_iteration(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        if self.mode == "concat":
            drawn = strategy.loader.beyond
        else:
            position = strategy.position
            drawn = self.memory.draw(len(strategy.mb_x), position.task, position.epoch, position.step)
        if len(drawn):
            strategy.extend_batch(*self._fetch(drawn))
            self._apply_policies(strategy)

    def _fetch(self, positions: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        rows = self.memory.rows[positions]
        return self.store.images(rows), torch.from_numpy(self.memory.labels[positions]), torch.from_numpy(rows)

    def _apply_policies(self, strategy: Any) -> None:
        classes = strategy.experience.classes_in_this_experience
        start, stop = classes[0], classes[-1] + 1
        if self.current_classes == "negative":
            assume_negative(strategy.mb_y, strategy.replayed, start, stop)
        if self.other_classes == "negative":
            assume_negative(strategy.mb_y, strategy.replayed, 0, start)
        elif self.other_classes == "ignore":
            strategy.distillable &= ~strategy.replayed

    def after_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        rows = strategy.experience.dataset.rows()
        task = strategy.experience.current_experience
        self.memory.update(task, rows, self.store.memory_targets(rows))

    def state_dict(self) -> dict[str, Any]:
        return self.memory.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.memory.load_state_dict(state)
