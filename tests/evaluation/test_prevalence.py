from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from clsim.evaluation.metrics import average_precision
from clsim.evaluation.prevalence import chance_levels, visible_shares
from clsim.scenario import load_scenario
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


def test_chance_is_what_a_random_order_comes_to() -> None:
    """The mean AP of many random scores comes close to the level, class by class and over the images in scope."""
    plan = load_scenario("digits-b0c2", {"dataset.train": 60, "dataset.test": 400, "evaluation.images": "all"}).plan()
    scores = np.random.default_rng(0).standard_normal((40, len(plan.test_truth), plan.n_classes))
    for task in (0, len(plan.tasks) - 1):
        seen = plan.tasks[task].classes[1]
        drawn = [average_precision(each[:, :seen], plan.test_truth[:, :seen]).mean() for each in scores]
        level = chance_levels(plan, task, "skip")["mAP"]
        assert 100 * np.mean(drawn) == pytest.approx(level, abs=1.5)
        assert level == pytest.approx(100 * (plan.test_truth[:, :seen] == 1).mean())


def test_chance_counts_known_labels_of_images_in_scope_and_classes_with_a_positive() -> None:
    truth = np.array([[1, 0, 0], [0, -1, 0], [0, 1, 0], [1, 0, 0]], dtype=np.int8)
    tasks = tuple(
        TaskPlan(classes, np.arange(1), np.arange(*classes), np.ones((1, classes[1] - classes[0]), dtype=np.int8))
        for classes in ((0, 2), (2, 3))
    )
    groups = ClassGroups("counts", np.array([200, 50, 5]), np.array([0, 1, 2], dtype=np.int8))
    plan = StreamPlan(("a", "b", "c"), tasks, np.arange(4), truth, "seen", groups)
    level = chance_levels(plan, 1, "skip")
    assert level["mAP"] == pytest.approx(100 * (2 / 3 + 1 / 3) / 2), "image 1 shows no class that is known to be there"
    assert (level["head"], level["medium"]) == (pytest.approx(50), pytest.approx(100 / 3))
    assert np.isnan(level["tail"])
    assert chance_levels(plan, 1, "zero")["mAP"] == pytest.approx(100 * (2 / 3 + 1 / 3) / 3)
