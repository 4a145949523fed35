"""Scores inside tasks: the passes after each epoch, or after so many training images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clsim.evaluation.metrics import average_precision, mean_ap
from clsim.scenario.plan.stream_plan import StreamPlan
from clsim.vocabulary import task_name

SEEN = {"epoch/mAP_seen", "images/mAP_seen"}
"""Tags of mAP over seen classes inside a task."""


def kind_inside(template: Any) -> str:
    """Return what leads to a pass inside a task, "epoch" or "images", which begins its tags."""
    return "images" if isinstance(template.score_every, int) else "epoch"


def epochs_done(template: Any) -> int:
    """Return the epochs of the whole run at the end of the current one, before the position moves on."""
    position = template.position
    return int(position.task * template.train_epochs + position.epoch + 1)


def place_inside(template: Any) -> int:
    """Return the step at which the values of a pass inside a task are placed: epochs done, or new images trained on."""
    return int(template.images.run) if kind_inside(template) == "images" else epochs_done(template)


class InsideTasks:
    """The passes of a run inside its tasks.

    Attributes:
        seen_map: mAP over seen classes of each pass, percent, in their order; NaN where undefined.

    Args:
        plan: the stream, with the evaluation truth.
        empty_classes: as in `History`.
    """

    def __init__(self, plan: StreamPlan, empty_classes: str) -> None:
        self.plan = plan
        self.empty_classes = empty_classes
        self.seen_map: list[float] = []

    def values(self, scores: NDArray[Any], task: int, kind: str = "epoch") -> dict[str, float]:
        """Return the scalars of a pass inside a task, by TensorBoard tag; nothing is kept.

        Args:
            scores: float [M, S], logits of the seen classes for every test image, in the plan's order.
            task: index of the task being trained.
            kind: as `kind_inside` returns it.

        Raises:
            ValueError: no such task, or S is not the number of classes seen after it.
        """
        seen = seen_columns(self.plan, scores, task)
        truth = self.plan.test_truth[:, :seen]
        scope = self.plan.in_scope(task)
        ap = average_precision(scores, truth)
        values = {f"{kind}/mAP_seen": mean_ap(average_precision(scores[scope], truth[scope]), self.empty_classes)}
        for k, past in enumerate(self.plan.tasks[: task + 1]):
            values[f"{kind}/mAP_{task_name(k)}"] = mean_ap(ap[slice(*past.classes)], self.empty_classes)
        return values

    def keep(self, values: Iterable[tuple[str, Any]]) -> None:
        """Keep mAP over seen classes of a pass, whoever has scored it.

        Args:
            values: its tags and values, None for undefined; without such a pass nothing is kept.
        """
        self.seen_map += [np.nan if value is None else float(value) for tag, value in values if tag in SEEN]

    @property
    def average(self) -> float:
        """Anytime average: the mean of `seen_map`, percent; NaN without a pass, or where one is undefined."""
        return float(np.mean(self.seen_map)) if self.seen_map else np.nan

    def state(self) -> torch.Tensor:
        """Return what changes during a run."""
        return torch.tensor(self.seen_map, dtype=torch.float64)

    def load(self, state: torch.Tensor | None) -> None:
        """Go on from a state; without one, of an earlier version, the passes so far are not known: NaN."""
        self.seen_map = [np.nan] if state is None else state.tolist()


def seen_columns(plan: StreamPlan, scores: NDArray[Any], task: int) -> int:
    """Return the number of classes seen after a task, which the scores must have as columns.

    Raises:
        ValueError: no such task, or another number of columns.
    """
    if not 0 <= task < len(plan.tasks):
        raise ValueError(f"scores of task {task}, expected one of 0 ... {len(plan.tasks) - 1}")
    seen = plan.tasks[task].classes[1]
    if scores.shape[1] != seen:
        raise ValueError(f"scores have {scores.shape[1]} columns, expected the {seen} classes seen after task {task}")
    return seen
