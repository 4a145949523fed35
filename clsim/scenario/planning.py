"""From a configuration and the true labels to a StreamPlan. Nothing else in clsim decides what is streamed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from clsim.errors import ScenarioError, did_you_mean
from clsim.randomness import permutation
from clsim.scenario.plan import GROUPS, UNKNOWN, ClassGroups, StreamPlan, TaskPlan
from clsim.scenario.schema import ScenarioConfig, StreamSection

Labels = NDArray[np.int8]


def build_plan(config: ScenarioConfig, class_names: Sequence[str], train: Labels, test: Labels) -> StreamPlan:
    """The plan of a scenario.

    Args:
        config: the validated scenario.
        class_names: the C classes in the data set's order.
        train: int8 [N, C], true training labels in the data set's order; 1, 0, -1 not annotated.
        test: int8 [M, C], true test labels.

    Raises:
        ScenarioError: an impossible class order or split, or a task without a training image.
    """
    order = class_order(config.stream, class_names)
    train, test = train[:, order], test[:, order]
    names = tuple(class_names[column] for column in order)
    tasks = tuple(
        _task(classes, train, config.labels.visible == "full") for classes in task_ranges(config.stream, len(names))
    )
    for index, task in enumerate(tasks):
        if not len(task):
            shown = ", ".join(names[slice(*task.classes)])
            raise ScenarioError(
                [f"{config.name}: task {index} ({shown}) is empty: no training image shows its classes"]
            )
    return StreamPlan(
        class_names=names,
        tasks=tasks,
        test_samples=np.arange(len(test)),
        test_truth=np.ascontiguousarray(test),
        test_scope=config.evaluation.images,
        groups=class_groups((train == 1).sum(axis=0), config.evaluation.groups),
    )


def class_order(stream: StreamSection, class_names: Sequence[str]) -> NDArray[np.int64]:
    """Stream position -> data set column, int64 [C]."""
    alphabetical = np.array(sorted(range(len(class_names)), key=lambda column: class_names[column]), dtype=np.int64)
    if isinstance(stream.order, list):
        unknown = [name for name in stream.order if name not in class_names]
        repeated = [name for name in class_names if stream.order.count(name) > 1]
        missing = [name for name in class_names if name not in stream.order]
        problems = [
            *(f"unknown class {name!r}{did_you_mean(name, class_names)}" for name in unknown),
            *(f"class {name!r} is listed more than once" for name in repeated),
            *(f"class {name!r} is missing" for name in missing),
        ]
        if problems:
            raise ScenarioError([f"stream.order: {problem}" for problem in problems])
        return np.array([list(class_names).index(name) for name in stream.order], dtype=np.int64)
    if stream.order == "seed":
        return alphabetical[permutation(len(class_names), stream.order_seed, "class order")]
    return alphabetical


def task_ranges(stream: StreamSection, n_classes: int) -> list[tuple[int, int]]:
    """Column range [start, stop) of each task: Bi-Cj; B0-Cj starts with j classes; the last task may be smaller."""
    first = stream.base or stream.increment
    if first > n_classes:
        raise ScenarioError([f"stream: the first task wants {first} classes, the data set has {n_classes}"])
    starts = [0, *range(first, n_classes, stream.increment)]
    return list(zip(starts, [*starts[1:], n_classes], strict=True))


def _task(classes: tuple[int, int], truth: Labels, full: bool) -> TaskPlan:
    """Overlap assignment: every image with at least one positive among the task's classes."""
    samples = np.flatnonzero((truth[:, slice(*classes)] == 1).any(axis=1)).astype(np.int64)
    columns = np.arange(truth.shape[1]) if full else np.arange(*classes)
    return TaskPlan(classes, samples, columns, np.ascontiguousarray(truth[np.ix_(samples, columns)]))


def class_groups(positives: NDArray[Any], rule: Literal["counts", "terciles", "auto"]) -> ClassGroups:
    """Head, medium and tail by training positives.

    `counts` are the limits of the DB-loss benchmark (Wu et al., ECCV 2020). DECIDED: terciles split the classes,
    sorted by falling positives (ties by column), into thirds, the larger ones first; `auto` takes counts unless a
    group would be empty, because an empty group has no mAP to compare.
    """
    by_count = np.select([positives >= 100, positives >= 20], [0, 1], 2).astype(np.int8)
    if rule == "counts" or (rule == "auto" and len(np.unique(by_count)) == len(GROUPS)):
        return ClassGroups("counts", positives.astype(np.int64), by_count)
    by_tercile = np.empty(len(positives), dtype=np.int8)
    falling = np.argsort(-positives, kind="stable")
    for group, members in enumerate(np.array_split(falling, len(GROUPS))):
        by_tercile[members] = group
    return ClassGroups("terciles", positives.astype(np.int64), by_tercile)


def joint_plan(plan: StreamPlan, truth: Labels, last_only: bool = False) -> StreamPlan:
    """The derived plan of `joint`: task t holds every image with a seen class, all seen columns visible.

    Args:
        truth: int8 [N, C], true training labels in *stream* order.
        last_only: leave all tasks but the last without rows, for data too large to train on once per task.
    """
    tasks = []
    for index, task in enumerate(plan.tasks):
        seen = task.classes[1]
        rows = (truth[:, :seen] == 1).any(axis=1)
        if last_only and index < len(plan.tasks) - 1:
            rows[:] = False
        samples = np.flatnonzero(rows)
        tasks.append(TaskPlan(task.classes, samples, np.arange(seen), np.ascontiguousarray(truth[samples, :seen])))
    return StreamPlan(
        plan.class_names, tuple(tasks), plan.test_samples, plan.test_truth, plan.test_scope, plan.groups, plan.family
    )


def describe(plan: StreamPlan, truth: Labels) -> dict[str, Any]:
    """What `clsim plan` shows: JSON-ready, per task its classes, images, positives and missing labels.

    Args:
        truth: int8 [N, C], true training labels in stream order; only to count what the stream hides.
    """
    tasks = []
    for index, task in enumerate(plan.tasks):
        visible = np.full((len(task), plan.n_classes), UNKNOWN, dtype=np.int8)
        visible[:, task.columns] = task.values
        hidden = (visible == UNKNOWN) & (truth[task.samples] != UNKNOWN)
        tasks.append(
            {
                "index": index,
                "classes": plan.names(task),
                "train_images": len(task),
                "test_images": int(plan.in_scope(task.classes[1]).sum()),
                "positives": {
                    plan.class_names[column]: int((visible[:, column] == 1).sum()) for column in task.columns
                },
                "hidden_positives": int((hidden & (truth[task.samples] == 1)).sum()),
                "hidden_labels": int(hidden.sum()),
            }
        )
    return {
        "sha256": plan.sha256,
        "classes": list(plan.class_names),
        "train_images": len(np.unique(np.concatenate([task.samples for task in plan.tasks]))),
        "train_rows": plan.n_train_rows,
        "test_images": len(plan.test_samples),
        "groups": {
            "rule": plan.groups.rule,
            "positives": dict(zip(plan.class_names, plan.groups.positives.tolist(), strict=True)),
            **{name: [plan.class_names[c] for c in plan.groups.columns(name)] for name in GROUPS},
        },
        "tasks": tasks,
    }
