"""BiC's second stage: the logits of the newest classes are corrected on rows that nothing was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clsim.errors import StrategyError
from clsim.models.head import GrowingHead
from clsim.randomness import permutation
from clsim.training.learner import Learner
from clsim.training.memory.replay import Replay
from clsim.training.plugin import Plugin

Numbers = NDArray[np.float64]

LEAST_SCALE = 1e-3
"""Least beta: a positive one keeps the order of images."""
STEPS = 50
"""Newton steps at most; a dozen suffices."""


def corrected(logits: Numbers, targets: Numbers, ridge: float) -> tuple[float, float]:
    """Return beta > 0 and gamma with which sigmoid(beta z + gamma) fits held-out rows best.

    They minimise the mean binary cross-entropy over known entries, a row counting as in `row_weights`, plus
    ridge ((beta - 1)^2 + gamma^2).

    Args:
        logits: z, float64 [n, k].
        targets: float64 [n, k]: 1, 0, (0, 1) soft, -1 unknown.
    """
    known = targets >= 0
    weights = np.where(known, row_weights(targets)[:, None], 0.0)[known]
    if not weights.sum():
        return 1.0, 0.0
    weights /= weights.sum()
    z, y, found = logits[known], targets[known], np.array([1.0, 0.0])
    design, start = np.stack([z, np.ones_like(z)]), found.copy()

    def objective(at: Numbers) -> float:
        scores = at @ design
        return float(weights @ (np.logaddexp(0, scores) - y * scores) + ridge * ((at - start) ** 2).sum())

    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-np.clip(found @ design, -500, 500)))
        gradient = design @ (weights * (p - y)) + 2 * ridge * (found - start)
        curvature = (design * (weights * p * (1 - p))) @ design.T + 2 * ridge * np.eye(2)
        step = np.linalg.lstsq(curvature, -gradient, rcond=1e-12)[0]
        length = 1.0
        while length > 1e-6 and objective(found + length * step) > objective(found):
            length /= 2
        if length <= 1e-6 or np.abs(step).max() < 1e-10:
            break
        found = found + length * step
    return max(LEAST_SCALE, float(found[0])), float(found[1])


def row_weights(targets: Numbers) -> Numbers:
    """Return weights of rows [n] by which each class's positives count the same in all; rows without one are a class.

    Args:
        targets: [n, k].
    """
    shown = targets == 1
    shown = np.concatenate([shown, ~shown.any(axis=1, keepdims=True)], axis=1)
    weights: Numbers = (shown / np.maximum(shown.sum(axis=0), 1)).sum(axis=1)
    return weights


class BiasCorrection(Plugin):
    """Hold rows out of training; after each later task scale and shift the logits of its new classes.

    A share of each task's rows is held out; those of them that the memory stores stay held out. The correction is
    written into the head before anything keeps or uses the model: its teacher, relabelling and scores have it.

    Args:
        share: of a task's rows.
        ridge: see `corrected`.
    """

    def __init__(self, share: float, ridge: float) -> None:
        super().__init__()
        self.share = share
        self.ridge = ridge
        self.held_out: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self.scale, self.shift = 1.0, 0.0

    def after_train_dataset_adaptation(self, learner: Learner, **kwargs: Any) -> None:
        data, task = learner.adapted_dataset, learner.experience.current_experience
        order = permutation(len(data), learner.seed, "bic", task)
        count = min(len(data) - 1, max(1, round(self.share * len(data))))
        self.held_out = data.rows()[np.sort(order[:count])]
        learner.adapted_dataset = data.subset(np.sort(order[count:]).tolist())

    def memory_updated(self, learner: Learner, replay: Replay, **kwargs: Any) -> None:
        """Leave held-out rows that are stored out of later training, too."""
        replay.memory.left_out |= np.isin(replay.memory.rows, self.held_out)

    def finish_model(self, learner: Learner, **kwargs: Any) -> None:
        """Fit the correction of the task's new classes, and write it into the head."""
        self.scale, self.shift = 1.0, 0.0
        experience = learner.experience
        columns = np.setdiff1d(experience.classes_in_this_experience, experience.previous_classes)
        head = learner.model.head
        if not isinstance(head, GrowingHead):
            raise StrategyError(f"bic: the head is a {type(head).__name__}, expected a GrowingHead, one row per class")
        if not experience.previous_classes or not len(columns):
            return
        replay = learner.find_plugin(Replay)
        assert replay is not None  # the part needs a memory
        stored = np.flatnonzero(replay.memory.left_out)
        old = replay.memory.labels[np.ix_(stored, columns)]
        if replay.current_classes == "negative":
            old = np.where(old < 0, 0, old)
        targets = np.concatenate([learner.store.targets(self.held_out).numpy()[:, columns], old])
        rows = np.concatenate([self.held_out, replay.memory.rows[stored]])
        logits = learner.scored(learner.model, learner.store, rows)[:, columns]
        self.scale, self.shift = corrected(logits.astype(np.float64), targets.astype(np.float64), self.ridge)
        with torch.no_grad():
            head.weight[columns] *= self.scale
            head.bias[columns] = head.bias[columns] * self.scale + self.shift

    def report(self, class_names: Sequence[str]) -> dict[str, float]:
        return {"bic/scale": self.scale, "bic/shift": self.shift}

    def state_dict(self) -> dict[str, Any]:
        return {"scale": self.scale, "shift": self.shift}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.scale, self.shift = state["scale"], state["shift"]
