"""Online relabelling: predictions fill the unknown labels of memory rows (OR, the label-level half of RebLL)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from clsim.scenario.plan.task_classes import TaskClasses
from clsim.training.class_thresholds import break_even, f1_optimal
from clsim.training.held_out import HeldOut
from clsim.training.learner import Learner
from clsim.training.memory.replay import Replay
from clsim.training.plugin import Plugin
from clsim.training.snapshot import Snapshot
from clsim.vocabulary import UNKNOWN

Floats = NDArray[np.float32]


def relabel(scores: Floats, thresholds: Floats, ternary: bool = False) -> Floats:
    """Labels from scores: 1 where the score is above the threshold, else 0.

    Args:
        scores: probabilities, float32 [n, k].
        thresholds: float32 [k], one a class; above 1 every label is 0.
        ternary: leave scores between 1 - threshold and threshold unknown (-1).

    Returns:
        float32 [n, k].
    """
    labels = (scores > thresholds).astype(np.float32)
    if ternary:
        labels[(scores <= thresholds) & (scores >= 1 - thresholds)] = UNKNOWN
    return labels


class OnlineRelabelling(Plugin):
    """OR: after each task, unknown labels of the memory are filled so that it shows the classes' true distribution.

    The paper's label block matrix has memory rows by the task that stored them, columns by task; given labels are the
    diagonal. After task t:
        above the diagonal: rows stored before t get their labels of the classes of t from the model just trained;
        below the diagonal: rows stored by t get their labels of all older classes from the model before t.
    Given entries are never overwritten, classes still to come never touched; `Memory.provenance` keeps where each label
    is from.

    Args:
        threshold: "none" keeps the probability as the label; a probability; "adaptive": per class the break-even
            threshold on a tenth of the task's images that is held out from training; "f1": the one with the best F1
            there (RCLP); "prior": the score above which a share n_c / images seen so far lies. Thresholds stay with
            their class. DECIDED, all five: the paper only says that confident predictions become labels.
        fallback: threshold of classes for which "adaptive" and "f1" have no positive held out.
        ternary: see `relabel`.
        tasks: classes of each task.
        snapshot: the run's, whose model is the one before t; from `Context.snapshot`.
        held_out: the run's, from `Context.held_out`; None for the other thresholds.
    """

    def __init__(
        self,
        threshold: float | Literal["none", "adaptive", "f1", "prior"],
        fallback: float,
        ternary: bool,
        tasks: tuple[TaskClasses, ...],
        snapshot: Snapshot,
        held_out: HeldOut | None,
    ) -> None:
        super().__init__()
        self.threshold = threshold
        self.fallback = fallback
        self.ternary = ternary
        self.tasks = tasks
        self.snapshot = snapshot
        self.held_out = held_out
        n_classes = tasks[-1].stop
        self.thresholds = np.full(n_classes, fallback if isinstance(threshold, str) else threshold, dtype=np.float32)
        self.positives = np.zeros(n_classes, dtype=np.int64)
        self.rows_seen = 0

    def memory_updated(self, learner: Learner, replay: Replay, **kwargs: Any) -> None:
        """Fill the blocks beside the diagonal, after the memory has taken in the task's rows."""
        memory, task = replay.memory, learner.experience.current_experience
        self._update_thresholds(learner, replay, task)
        above = memory.stored_by < task, self.tasks[task].current, learner.model
        below = memory.stored_by == task, self.tasks[task].old, self.snapshot.model
        for rows, columns, model in (above, below):
            positions = np.flatnonzero(rows)
            if model is not None and len(positions):
                scores = learner.probabilities(model, replay.store, memory.rows[positions], columns)
                memory.relabel(positions, columns, self._labels(scores, columns), task)

    def _update_thresholds(self, learner: Learner, replay: Replay, task: int) -> None:
        columns = self.tasks[task].current
        rows = learner.experience.dataset.rows()
        labels = replay.store.targets(rows).numpy()[:, columns]
        self.positives[columns] += (labels == 1).sum(axis=0)
        self.rows_seen += len(rows)
        if self.held_out is not None:
            choose = break_even if self.threshold == "adaptive" else f1_optimal
            self.thresholds[columns] = choose(*self.held_out.judged(learner, columns), self.fallback)

    def _labels(self, scores: Floats, columns: NDArray[np.int64]) -> Floats:
        if self.threshold == "none":
            return scores.astype(np.float32)
        thresholds = self.thresholds[columns]
        if self.threshold == "prior":
            share = np.clip(self.positives[columns] / max(1, self.rows_seen), 0, 1)
            quantiles = [np.quantile(column, 1 - part) for column, part in zip(scores.T, share, strict=True)]
            thresholds = np.array(quantiles, dtype=np.float32)
        return relabel(scores, thresholds, self.ternary)

    def state_dict(self) -> dict[str, Any]:
        return {
            "thresholds": torch.from_numpy(self.thresholds.copy()),
            "positives": torch.from_numpy(self.positives.copy()),
            "rows_seen": self.rows_seen,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.thresholds = state["thresholds"].numpy().copy()
        self.positives = state["positives"].numpy().copy()
        self.rows_seen = state["rows_seen"]
