"""Scores after each task -> every number of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clsim.evaluation.metrics import average_precision, backward_transfer, finite_mean, forgetting, mean_ap
from clsim.scenario.plan import GROUPS, StreamPlan

Floats = NDArray[np.float64]


@dataclass
class History:
    """What a run has scored so far; everything else follows from it and the plan.

    Attributes:
        plan: the stream, with the evaluation truth.
        empty_classes: what a class without a positive test image counts in mAP: "skip" or "zero".
        ap: float64 [T, C], AP of each class on the whole test set after each task, 0..1; NaN where a class is not yet
            seen, has no positive, or the task was not trained.
        seen_map: float64 [T], mAP over seen classes and the test images in scope, percent; NaN if not trained.
    """

    plan: StreamPlan
    empty_classes: str = "skip"

    def __post_init__(self) -> None:
        n_tasks, n_classes = len(self.plan.tasks), self.plan.n_classes
        self.ap: Floats = np.full((n_tasks, n_classes), np.nan)
        self.seen_map: Floats = np.full(n_tasks, np.nan)
        self.last = -1

    def add(self, scores: NDArray[Any]) -> int:
        """Take the scores of one evaluation pass.

        Args:
            scores: float [M, S], logits of the seen classes for every test image, in the plan's order; S must be the
                number of classes seen after some task.

        Returns:
            The index of that task.

        Raises:
            ValueError: S is not such a number.
        """
        seen = scores.shape[1]
        widths = [task.classes[1] for task in self.plan.tasks]
        if seen not in widths:
            raise ValueError(f"scores have {seen} columns, expected the classes seen after a task: {widths}")
        task = widths.index(seen)
        truth = self.plan.test_truth[:, :seen]
        self.ap[task, :seen] = average_precision(scores, truth)
        scope = self.plan.in_scope(seen)
        self.seen_map[task] = mean_ap(average_precision(scores[scope], truth[scope]), self.empty_classes)
        self.last = task
        return task

    def matrix(self) -> Floats:
        """R [T, T] in percent: R[t, k] = mean AP over the classes of task k after task t; NaN for k > t."""
        columns = [slice(*task.classes) for task in self.plan.tasks]
        trained = ~np.isnan(self.seen_map)
        return np.array(
            [
                [
                    mean_ap(row[part], self.empty_classes) if k <= t and trained[t] else np.nan
                    for k, part in enumerate(columns)
                ]
                for t, row in enumerate(self.ap)
            ]
        )

    def group_map(self) -> dict[str, Floats]:
        """mAP in percent of the seen classes of each group after each task, float64 [T]; NaN while none is seen."""
        return {name: np.array([mean_ap(row[self.plan.groups.columns(name)]) for row in self.ap]) for name in GROUPS}

    def values(self) -> dict[str, float]:
        """The scalars after the last scored task, by TensorBoard tag; NaN where undefined."""
        task = self.last
        matrix = self.matrix()[: task + 1, : task + 1]
        lost = forgetting(matrix)[:task]
        values = {"mAP/seen": self.seen_map[task]}
        values |= {f"mAP/task_{k:02d}": matrix[task, k] for k in range(task + 1)}
        values |= {f"forgetting/task_{k:02d}": lost[k] for k in range(task)}
        values["forgetting/mean"] = finite_mean(lost)
        values["backward_transfer/mean"] = backward_transfer(matrix)
        group_map, group_lost = self.group_map(), self.group_forgetting()
        values |= {f"groups/{name}_mAP": group_map[name][task] for name in GROUPS}
        values |= {f"groups/{name}_forgetting": group_lost[name] for name in GROUPS}
        seen = self.plan.tasks[task].classes[1]
        values |= {f"AP/{self.plan.class_names[c]}": 100 * self.ap[task, c] for c in range(seen)}
        return {name: float(value) for name, value in values.items()}

    def class_forgetting(self) -> Floats:
        """Forgetting of each class in percent points, float64 [C]; NaN for classes seen only in the last task."""
        return 100 * forgetting(self.ap[: self.last + 1])

    def group_forgetting(self) -> dict[str, float]:
        """Mean class forgetting of each group, percent points."""
        lost = self.class_forgetting()
        return {name: finite_mean(lost[self.plan.groups.columns(name)]) for name in GROUPS}

    def summary(self) -> dict[str, Any]:
        """The final numbers of a run as `result.json` records them; NaN stands for undefined.

        avg_mAP is the mean over all tasks, the first included; NaN when a task was not trained.
        """
        matrix = self.matrix()
        group_map = self.group_map()
        return {
            "last_mAP": self.seen_map[-1],
            "avg_mAP": self.seen_map.mean(),
            "forgetting": finite_mean(forgetting(matrix)[:-1]),
            "backward_transfer": backward_transfer(matrix),
            "mAP": self.seen_map.tolist(),
            "R": matrix.tolist(),
            "AP": (100 * self.ap).tolist(),
            "class_forgetting": self.class_forgetting().tolist(),
            "groups": {
                "rule": self.plan.groups.rule,
                "members": {n: [self.plan.class_names[c] for c in self.plan.groups.columns(n)] for n in GROUPS},
                "mAP": {name: group_map[name].tolist() for name in GROUPS},
                "last_mAP": {name: group_map[name][-1] for name in GROUPS},
                "forgetting": self.group_forgetting(),
            },
        }

    def state_dict(self) -> dict[str, Any]:
        return {"ap": self.ap.copy(), "seen_map": self.seen_map.copy(), "last": self.last}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.ap, self.seen_map, self.last = state["ap"].copy(), state["seen_map"].copy(), state["last"]
