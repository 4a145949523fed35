"""A tenth of each task's rows that is not trained on, held out once for all plugins that judge the model on it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clsim.randomness import permutation
from clsim.training.learner import Learner
from clsim.training.plugin import Plugin


class HeldOut(Plugin):
    """Holds a tenth of each task's rows out from training.

    A strategy gets the one of its run from `Context.held_out`, and hands it to the plugins that need it.

    Attributes:
        rows: int64 [n], row ids of the current task that are held out; at least one.

    Args:
        seed: the run's seed.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.rows: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def after_train_dataset_adaptation(self, learner: Learner, **kwargs: Any) -> None:
        """Take the rows out of what is trained on; a resumed task calls this again, and draws the same."""
        data, task = learner.adapted_dataset, learner.experience.current_experience
        order = permutation(len(data), self.seed, "relabelling", task)
        tenth = max(1, len(data) // 10)
        self.rows = data.rows()[np.sort(order[:tenth])]
        learner.adapted_dataset = data.subset(np.sort(order[tenth:]).tolist())

    def judged(self, learner: Learner, columns: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the model's probabilities of the rows and their visible labels, both float32 [n, k] of k columns."""
        scores = learner.probabilities(learner.model, learner.store, self.rows, columns)
        labels: NDArray[np.float32] = learner.store.targets(self.rows).numpy()[:, columns]
        return scores, labels

    def state_dict(self) -> dict[str, Any]:
        return {}  # the rows follow from the task
