"""CBRS: rows of small classes all come in, rows of full ones by chance."""

from __future__ import annotations

import numpy as np

from clsim.scenario.plan.task_classes import TaskClasses
from clsim.training.memory.class_balancing_reservoir import ClassBalancingReservoir
from clsim.training.memory.store import Budget, Memory


def memory_of(total: int, seed: int = 0, classes: int = 3) -> Memory:
    return Memory(Budget(total=total), ClassBalancingReservoir(), (TaskClasses(0, classes),), seed)


def one_class_each(*classes: int) -> np.ndarray:
    return np.eye(3, dtype=np.float32)[list(classes)]


def test_a_row_of_a_small_class_takes_the_place_of_one_of_the_largest() -> None:
    memory = memory_of(4)
    memory.update(0, np.arange(4), one_class_each(0, 0, 0, 1), whole=False)
    for row, shown, counts in ((4, 1, [2, 2, 0]), (5, 2, None), (6, 2, None)):
        memory.update(0, np.array([row]), one_class_each(shown), whole=False)
        assert row in memory.rows
        assert counts is None or memory.labels.sum(axis=0).tolist() == counts
    assert sorted(memory.labels.sum(axis=0).tolist()) == [1, 1, 2]
    assert memory.selection.full.tolist() == [True, True, False, False]  # type: ignore[attr-defined]


def test_within_a_full_class_each_row_is_kept_equally_often() -> None:
    counts, seeds = np.zeros(30), 400
    for seed in range(seeds):
        memory = memory_of(5, seed)
        memory.update(0, np.arange(30), one_class_each(*[0] * 30), whole=False)
        counts[memory.rows] += 1
    rate, spread = 5 / 30, (5 / 30 * 25 / 30 / seeds) ** 0.5
    assert np.abs(counts / seeds - rate).max() < 4 * spread


def test_a_rare_class_is_kept_whole_and_the_others_share_the_rest() -> None:
    memory = memory_of(50, classes=3)
    memory.update(0, np.arange(1000), one_class_each(*np.repeat([0, 1, 2], [700, 290, 10])))
    counts = memory.labels.sum(axis=0).tolist()
    assert counts[2] == 10
    assert abs(counts[0] - counts[1]) <= 2


def test_a_row_counts_for_the_positive_of_which_the_fewest_were_offered() -> None:
    memory = memory_of(10)
    labels = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1], [1, 1, 1], [0, 0, 0]], dtype=np.float32)
    memory.update(0, np.arange(5), labels, whole=False)
    assert memory.selection.offered.tolist() == [2, 1, 1, 1]  # type: ignore[attr-defined]
