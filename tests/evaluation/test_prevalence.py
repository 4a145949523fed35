from __future__ import annotations

import dataclasses

import numpy as np

from clsim.evaluation.prevalence import visible_shares
from clsim.scenario.plan.stream_plan import ClassGroups, StreamPlan, TaskPlan


def make_plan(*tasks: TaskPlan) -> StreamPlan:
    groups = ClassGroups("counts", np.zeros(3, dtype=np.int64), np.zeros(3, dtype=np.int8))
    truth = np.zeros((1, 3), dtype=np.int8)
    return StreamPlan(("a", "b", "c"), tasks, np.arange(1), truth, "seen", groups)


def make_task(classes: tuple[int, int], samples: list[int], columns: list[int], values: list[list[int]]) -> TaskPlan:
    shown = np.array(values, dtype=np.int8).reshape(len(samples), len(columns))
    return TaskPlan(classes, np.array(samples, dtype=np.int64), np.array(columns), shown)


FIRST = make_task((0, 2), [7, 5, 9], [0, 1], [[1, 0], [-1, 1], [1, 1]])


def test_shares_are_of_the_distinct_images_shown_so_far() -> None:
    """Image 9 comes back in the second task and counts once; a hidden entry counts as absent."""
    plan = make_plan(FIRST, make_task((2, 3), [9, 2], [2], [[1], [0]]))
    np.testing.assert_allclose(visible_shares(plan), [[2 / 3, 2 / 3, 0], [2 / 4, 2 / 4, 1 / 4]])


def test_a_label_seen_in_two_tasks_counts_once() -> None:
    again = make_task((2, 3), [9, 5], [0, 2], [[1, 0], [1, 1]])
    np.testing.assert_allclose(visible_shares(make_plan(FIRST, again))[1], [3 / 3, 2 / 3, 1 / 3])


def test_only_visible_labels_and_no_truth_enter() -> None:
    plan = make_plan(FIRST)
    other = dataclasses.replace(plan, test_truth=np.ones((1, 3), dtype=np.int8))
    np.testing.assert_array_equal(visible_shares(other), visible_shares(plan))
    nothing = make_plan(make_task((0, 3), [], [0, 1, 2], []))
    np.testing.assert_array_equal(visible_shares(nothing), [[0, 0, 0]])
