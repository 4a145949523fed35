"""Training on nothing but the memory (GDumb)."""

from __future__ import annotations

from typing import Any

import numpy as np

from clsim.errors import StrategyError
from clsim.scenario.stream.rows import MultiLabelDataset, RowStore
from clsim.training.learner import Learner
from clsim.training.memory.replay import Replay
from clsim.training.memory.store import Memory
from clsim.training.unknown import assume_negative


class MemoryOnly(Replay):
    """Takes a task's rows into the memory before the task is trained, and trains on the memory alone.

    Args:
        memory: what is stored; its selection may not ask a network, which has not been trained yet.
        store: where the images of row ids are.
        negative: whether unknown labels of all seen classes are read as absent; else they are left out.

    Raises:
        StrategyError: the selection asks the network for features or anything else.
    """

    def __init__(self, memory: Memory, store: RowStore, negative: bool) -> None:
        super().__init__(memory, store, "concat", "ignore", "ignore")
        self.negative = negative
        selection = memory.selection
        if selection.needs_features or selection.asks_network:
            name = getattr(selection, "name", type(selection).__name__)
            wants = "wants features of" if selection.needs_features else "asks"
            raise StrategyError(
                f"gdumb chooses rows before it trains, and {name} {wants} a trained network; allowed are selections "
                "that do not, such as class-balanced"
            )

    def share(self, new: int) -> float:
        return 0.0

    def turns(self, new_rows: int) -> float:
        return 0.0

    def before_train_dataset_adaptation(self, learner: Learner, **kwargs: Any) -> None:
        """Store the task's rows; a resumed task calls this again, and has them from its state."""
        if not learner.position.started:
            rows = learner.experience.dataset.rows()
            task = learner.experience.current_experience
            self.memory.update(task, rows, self.store.memory_targets(rows))

    def after_train_dataset_adaptation(self, learner: Learner, **kwargs: Any) -> None:
        learner.adapted_dataset = MultiLabelDataset.from_rows(
            self.store, np.sort(self.memory.rows[self.memory.trained])
        )

    def before_training_exp(self, learner: Learner, **kwargs: Any) -> None:
        """Add no rows: those of the memory are the task's data."""

    def before_training_iteration(self, learner: Learner, **kwargs: Any) -> None:
        """Add no rows."""

    def before_forward(self, learner: Learner, **kwargs: Any) -> None:
        if self.negative:
            assume_negative(learner.mb_y, learner.experience.classes_seen_so_far)

    def after_training_exp(self, learner: Learner, **kwargs: Any) -> None:
        """Store no rows: those of the task have been stored before it."""
