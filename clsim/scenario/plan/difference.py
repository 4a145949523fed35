"""What two plans differ in: classes, tasks, who is in a task, what is visible, what is scored."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clsim.scenario.plan.stream_plan import StreamPlan, TaskPlan
from clsim.vocabulary import UNKNOWN


def difference(first: StreamPlan, second: StreamPlan) -> dict[str, Any]:
    """Return what the second plan has otherwise, JSON-ready.

    Images are compared by their place in the data set, classes by name. Labels are compared in the images and classes
    that both plans have in a task.

    Returns:
        equal: whether the hashes are; classes: only_first, only_second, and whether those of both come in the same
        order; online: images at a time in both, None where a task is there as a whole; tasks: for each index that one
        of them has, see `_task`; test: images only_first, only_second, and the true labels that differ in the others.
    """
    common = [name for name in first.class_names if name in set(second.class_names)]
    return {
        "equal": first.sha256 == second.sha256,
        "classes": {
            "only_first": [name for name in first.class_names if name not in common],
            "only_second": [name for name in second.class_names if name not in common],
            "same_order": common == [name for name in second.class_names if name in set(common)],
        },
        "online": [first.online, second.online],
        "tasks": [
            {"index": index, **_task(first, second, index)} for index in range(max(len(first.tasks), len(second.tasks)))
        ],
        "test": _test(first, second, common),
    }


def _task(first: StreamPlan, second: StreamPlan, index: int) -> dict[str, Any]:
    """Return classes and numbers of images that one plan alone has in a task, and of labels that differ in both.

    shown_first: visible in the first plan alone; shown_second: in the second alone; changed: visible in both with other
    values.
    """
    tasks = [plan.tasks[index] if index < len(plan.tasks) else None for plan in (first, second)]
    names: list[list[str]] = [
        [] if task is None else plan.names(task) for plan, task in zip((first, second), tasks, strict=True)
    ]
    found: dict[str, Any] = {
        "classes_only_first": [name for name in names[0] if name not in names[1]],
        "classes_only_second": [name for name in names[1] if name not in names[0]],
    }
    images, others = (np.empty(0, dtype=np.int64) if task is None else task.samples for task in tasks)
    both = np.intersect1d(images, others)
    found |= {
        "images_only_first": len(np.setdiff1d(images, others)),
        "images_only_second": len(np.setdiff1d(others, images)),
        "images_of_both": len(both),
    }
    if tasks[0] is None or tasks[1] is None:
        return found | dict.fromkeys(("shown_first", "shown_second", "changed"), 0)
    common = [name for name in first.class_names if name in set(second.class_names)]
    one, other = (
        _visible(plan, task, both, common) for plan, task in zip((first, second), (tasks[0], tasks[1]), strict=True)
    )
    return found | {
        "shown_first": int(((one != UNKNOWN) & (other == UNKNOWN)).sum()),
        "shown_second": int(((one == UNKNOWN) & (other != UNKNOWN)).sum()),
        "changed": int(((one != UNKNOWN) & (other != UNKNOWN) & (one != other)).sum()),
    }


def _visible(plan: StreamPlan, task: TaskPlan, images: NDArray[np.int64], names: list[str]) -> NDArray[np.float32]:
    """Return the visible labels of images of a task in the columns of some classes, float32 [n, k]; -1 hidden."""
    order = np.argsort(task.samples, kind="stable")
    rows = order[np.searchsorted(task.samples, images, sorter=order)]
    values = task.values[rows].astype(np.float32)
    if task.soft is not None:
        values = np.where(task.soft[rows] > 0, task.soft[rows], values)
    whole = np.full((len(images), plan.n_classes), UNKNOWN, dtype=np.float32)
    whole[:, task.columns] = values
    return whole[:, [plan.class_names.index(name) for name in names]]


def _test(first: StreamPlan, second: StreamPlan, names: list[str]) -> dict[str, Any]:
    both = np.intersect1d(first.test_samples, second.test_samples)
    one, other = (
        plan.test_truth[np.searchsorted(plan.test_samples, both)][:, [plan.class_names.index(name) for name in names]]
        for plan in (first, second)
    )
    same_split = first.test_split == second.test_split
    return {
        "splits": [first.test_split, second.test_split],
        "scopes": [first.test_scope, second.test_scope],
        "images_only_first": len(np.setdiff1d(first.test_samples, second.test_samples)),
        "images_only_second": len(np.setdiff1d(second.test_samples, first.test_samples)),
        "images_of_both": len(both),
        "true_labels_changed": int((one != other).sum()) if same_split else None,
    }
