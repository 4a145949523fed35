"""How frequent each class is: among the training images as far as visible labels tell, and among those scored."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clsim.evaluation.metrics import Floats
from clsim.scenario.plan.stream_plan import StreamPlan
from clsim.vocabulary import GROUPS


def visible_shares(plan: StreamPlan) -> Floats:
    """Share of the training images shown so far that are seen to show a class, float64 [T, C] in 0..1.

    Of the distinct images of tasks 0 to t, those that carry a visible 1 of class c in one of these tasks. An image
    without one counts as absent, so the share is too low where labels within a task or of other tasks are hidden.

    No test truth and no hidden label enters. Which rows show the same image does, which a learner does not know.
    0 for a class not yet shown, and where no image is.
    """
    n_tasks, n_classes = len(plan.tasks), plan.n_classes
    pairs, task_of_pair = [], []
    for place, task in enumerate(plan.tasks):
        rows, columns = np.nonzero(task.values == 1)
        pairs.append(task.samples[rows] * n_classes + task.columns[columns])
        task_of_pair.append(np.full(len(rows), place))
    distinct, first = np.unique(np.concatenate(pairs), return_index=True)
    positives = np.zeros((n_tasks, n_classes))
    np.add.at(positives, (np.concatenate(task_of_pair)[first], distinct % n_classes), 1)
    _, first_row = np.unique(plan.row_samples, return_index=True)
    images = np.bincount(np.searchsorted(plan.row_offsets, first_row, side="right") - 1, minlength=n_tasks)
    return positives.cumsum(axis=0) / np.maximum(images.cumsum(), 1)[:, None]


def chance_levels(plan: StreamPlan, task: int, empty_classes: str) -> dict[str, float]:
    """Return what mAP a random order of the images comes to after a task, percent; NaN where no class counts.

    It is the mean prevalence of the classes, their positives among the images of which the label is known: the
    expected AP of a random order, as the number of images grows.

    Args:
        empty_classes: as in the scenario's `evaluation` section.

    Returns:
        mAP: of the seen classes over the images in scope; head, medium, tail: of those of the group over all test
        images, as their mAP.
    """
    seen = plan.tasks[task].classes[1]
    levels = {"mAP": _mean_prevalence(plan.test_truth[plan.in_scope(task), :seen], empty_classes)}
    for name in GROUPS:
        columns = plan.groups.columns(name)
        levels[name] = _mean_prevalence(plan.test_truth[:, columns[columns < seen]], empty_classes)
    return levels


def chance_of_task(plan: StreamPlan, task: int, empty_classes: str) -> float:
    """Return what R[t, task] a random order of the images comes to, percent; NaN where no class of the task counts."""
    first, after = plan.tasks[task].classes
    return _mean_prevalence(plan.test_truth[:, first:after], empty_classes)


def _mean_prevalence(truth: NDArray[np.int8], empty_classes: str) -> float:
    positives, known = (truth == 1).sum(axis=0), (truth >= 0).sum(axis=0)
    counted = positives > 0 if empty_classes == "skip" else np.ones(len(positives), dtype=bool)
    return 100 * float((positives / np.maximum(known, 1))[counted].mean()) if counted.any() else np.nan
