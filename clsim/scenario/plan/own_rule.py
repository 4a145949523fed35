"""Stream rules that a user brings: functions that say which training images each task has.

    def by_size(labels, tasks, seed, *, most=2):
        return [np.flatnonzero((labels[:, start:stop] == 1).any(axis=1)) for start, stop in tasks]

They see the true labels, as all planning does. What they return is in the plan, whose hash covers it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clsim.errors import Unplannable
from clsim.parts import PartError, made
from clsim.plugin_files import told
from clsim.scenario.plan.task_classes import TaskClasses
from clsim.scenario.stream_schema import OwnRule

_AT = ("stream", "assignment")
_EXPECTED = "expected a list of one array of row positions, int [n], per task"


def own_assignment(
    section: OwnRule, truth: NDArray[np.int8], tasks: Sequence[TaskClasses], seed: int
) -> list[NDArray[np.int64]]:
    """Return the rows of each task as a user's rule chooses them, int64 [n], ascending.

    DECIDED: a row may be in several tasks or in none, and in a task of whose classes it shows none; `clsim plan` counts
    those as rows without a positive. One row of a task at least shows one of its classes.

    DECIDED: the rule is called twice, because a plan that differs from call to call is none.

    Args:
        section: names the rule.
        truth: int8 [N, C] in stream order: 1, 0, -1 not annotated.
        tasks: classes of each task; the rule is given the range [start, stop) of those that it introduces.
        seed: of the stream.

    Raises:
        Unplannable: no such rule or options, an error of its own, or rows that cannot be.
    """
    try:
        rule = made("stream-rule", section.rule, section.options, "")
    except PartError as error:
        raise Unplannable((*_AT, *(error.below or ("rule",))), error.text) from None
    ranges = [(task.start, task.stop) for task in tasks]
    first, again = (_called(rule, section.rule, truth.copy(), list(ranges), seed) for _ in range(2))
    for task, (rows, others) in enumerate(zip(first, again, strict=True)):
        if not np.array_equal(rows, others):
            raise _problem(section.rule, f"gave task {task} other rows when called again; draw from its `seed` only")
        if not (truth[np.ix_(rows, tasks[task].current)] == 1).any():
            raise _problem(section.rule, f"gave task {task} no row that shows one of its classes")
    return first


def _called(
    rule: Callable[..., Any], reference: str, truth: NDArray[np.int8], tasks: list[tuple[int, int]], seed: int
) -> list[NDArray[np.int64]]:
    n_tasks, n_rows = len(tasks), len(truth)
    try:
        given = rule(truth, tasks, seed)
    except Exception as error:
        raise _problem(reference, f"failed: {told(error)}") from error
    if not isinstance(given, list | tuple):
        raise _problem(reference, f"returned {type(given).__name__}, {_EXPECTED}")
    if len(given) != n_tasks:
        raise _problem(reference, f"returned {len(given)} arrays for {n_tasks} tasks, {_EXPECTED}")
    return [_rows(reference, task, rows, n_rows) for task, rows in enumerate(given)]


def _rows(reference: str, task: int, given: Any, n_rows: int) -> NDArray[np.int64]:
    """Return the rows of a task, checked, ascending."""
    try:
        rows = np.asarray(given)
    except Exception as error:
        raise _problem(reference, f"returned {type(given).__name__} for task {task}: {told(error)}") from error
    if not rows.size:
        raise _problem(reference, f"gave task {task} no row")
    if rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer):
        hint = "; np.flatnonzero makes positions of a mask" if rows.dtype == bool else ""
        raise _problem(reference, f"returned {rows.dtype} {list(rows.shape)} for task {task}, {_EXPECTED}{hint}")
    if rows.min() < 0 or rows.max() >= n_rows:
        wrong = rows[(rows < 0) | (rows >= n_rows)][0]
        raise _problem(reference, f"gave task {task} row {wrong}, allowed: 0 ... {n_rows - 1}")
    rows = np.sort(rows.astype(np.int64))
    if (twice := rows[1:][rows[1:] == rows[:-1]]).size:
        raise _problem(reference, f"gave task {task} row {twice[0]} more than once")
    return rows


def _problem(reference: str, text: str) -> Unplannable:
    return Unplannable((*_AT, "rule"), f"{reference} {text}")
