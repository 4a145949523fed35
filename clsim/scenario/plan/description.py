"""What a plan says of itself: the numbers that `clsim plan` shows, and what somebody should know before a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from clsim.scenario.plan.counts import ROWS_AT_A_TIME, count_positives
from clsim.scenario.plan.rules import Labels
from clsim.scenario.plan.stream_plan import StreamPlan, TaskPlan
from clsim.vocabulary import GROUPS, UNKNOWN

MOST_UNEQUAL = 20
"""Training images of the largest task / of the smallest, above which a plan is said to be unequal."""


def plan_notes(plan: StreamPlan, of_data: Sequence[str] = ()) -> list[str]:
    """Return what a plan can be run with but somebody should know, a line each: classes and tasks that teach little.

    Args:
        of_data: notes on its data, which come first.
    """
    shown, denied = np.zeros(plan.n_classes, dtype=bool), np.zeros(plan.n_classes, dtype=bool)
    for task in plan.tasks:
        shown[task.columns] |= (task.values == 1).any(axis=0)
        denied[task.columns] |= (task.values == 0).any(axis=0)
        if task.soft is not None:
            shown[task.columns] |= (task.soft > 0).any(axis=0)
            denied[task.columns] |= (task.soft > 0).any(axis=0)
    tested = (plan.test_truth == 1).any(axis=0)
    nowhere = {
        "classes that no training image shows, and no method can learn": ~shown,
        f"classes that no {plan.test_split} image shows, and no metric counts": ~tested,
        "classes without a visible 0, which no method can tell from others by labels alone": shown & ~denied,
    }
    notes = list(of_data)
    for what, absent in nowhere.items():
        if names := [plan.class_names[column] for column in np.flatnonzero(absent)]:
            notes.append(f"{what}: {', '.join(names)}")
    if single := [str(index) for index, task in enumerate(plan.tasks) if len(task) == 1]:
        text = "batch norm over maps of 1 x 1 pixels takes its stored statistics there"
        notes.append(f"tasks of one training image: {', '.join(single)}; {text}")
    sizes = [len(task) for task in plan.tasks if len(task)]
    if max(sizes) > MOST_UNEQUAL * min(sizes):
        notes.append(
            f"tasks of unequal size: {min(sizes)} to {max(sizes)} training images, and as unequal numbers of steps"
        )
    return notes


def describe(plan: StreamPlan, truth: Labels, notes: Sequence[str] = ()) -> dict[str, Any]:
    """What `clsim plan` shows: JSON-ready, per task its classes, images, positives and missing labels.

    Args:
        truth: int8 [N, C], true training labels in stream order; only to count what the stream hides.
        notes: on the data.
    """
    tasks = []
    for index, task in enumerate(plan.tasks):
        positives = count_positives(task.values, np.arange(len(task)))
        hidden_positives, hidden = _hidden(task, truth)
        tasks.append(
            {
                "index": index,
                "classes": plan.names(task),
                **({} if not task.returning else {"returning": [plan.class_names[c] for c in task.returning]}),
                "train_images": len(task),
                "rows_without_positive": int((task.values.max(axis=1, initial=UNKNOWN) < 1).sum()),
                "test_images": int(plan.in_scope(index).sum()),
                "positives": {
                    plan.class_names[column]: int(count) for column, count in zip(task.columns, positives, strict=True)
                },
                "hidden_positives": hidden_positives,
                "hidden_labels": hidden,
                **({} if task.soft is None else {"soft_labels": int((task.soft > 0).sum())}),
            }
        )
    return {
        "sha256": plan.sha256,
        "classes": list(plan.class_names),
        "train_images": len(np.unique(np.concatenate([task.samples for task in plan.tasks]))),
        "train_rows": plan.n_train_rows,
        "test_images": len(plan.test_samples),
        "test_split": plan.test_split,
        **({} if plan.online is None else {"online": plan.online}),
        "groups": {
            "rule": plan.groups.rule,
            "imbalance": _imbalance(plan.groups.positives),
            "positives": dict(zip(plan.class_names, plan.groups.positives.tolist(), strict=True)),
            **{name: [plan.class_names[c] for c in plan.groups.columns(name)] for name in GROUPS},
        },
        "tasks": tasks,
        "notes": plan_notes(plan, notes),
    }


def _hidden(task: TaskPlan, truth: Labels) -> tuple[int, int]:
    """Return how many positives, and labels, of a task's images are annotated and not visible."""
    positives = count = 0
    for first in range(0, len(task), ROWS_AT_A_TIME):
        part = slice(first, first + ROWS_AT_A_TIME)
        true = truth[task.samples[part]]
        hidden = true != UNKNOWN
        hidden[:, task.columns] &= task.values[part] == UNKNOWN
        count += int(hidden.sum())
        positives += int((hidden & (true == 1)).sum())
    return positives, count


def _imbalance(positives: Any) -> float | None:
    """Positives of the commonest class / of the rarest; None if one has none."""
    return round(float(positives.max() / positives.min()), 2) if positives.min() else None
