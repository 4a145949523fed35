"""OCDM: greedy deletion against numbers worked out by hand, and against deletion that looks at every row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clsim.scenario.plan.task_classes import TaskClasses
from clsim.training.memory import class_distribution
from clsim.training.memory.class_distribution import ClassDistribution, thinned
from clsim.training.memory.store import Budget, Memory

ROWS = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 0, 1], [0, 0, 1]], dtype=np.bool_)  # A to F
OFFERED = np.array([6.0, 3.0, 1.0])


@pytest.mark.parametrize(("rho", "order"), [(0.0, "ABD"), (1.0, "FAD"), (0.5, "EAD")])
def test_the_rows_of_the_worked_example_go_in_this_order(rho: float, order: str) -> None:
    for gone in range(4):
        left = thinned(ROWS, OFFERED, rho, 6 - gone, np.arange(6))
        assert "".join("ABCDEF"[row] for row in left) == "".join(sorted(set("ABCDEF") - set(order[:gone])))


def naive(positives: NDArray[np.bool_], target: NDArray[np.float64], most: int, keys: NDArray[np.int64]) -> list[int]:
    """Greedy deletion that computes KL(q || p) without each row from its definition."""
    left = list(range(len(positives)))
    while len(left) > most:
        distances = []
        for row in left:
            counts = positives[[other for other in left if other != row]].sum(axis=0)
            share = counts[counts > 0] / max(1, counts.sum())
            distances.append(float((share * np.log(share / target[counts > 0])).sum()) if counts.any() else np.inf)
        near = [row for row, d in zip(left, distances, strict=True) if d <= min(distances) + 1e-12]
        left.remove(min(near, key=lambda row: keys[row]))
    return left


@pytest.mark.parametrize("looked_at", [1024, 2])
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 999), st.sampled_from([0.0, 0.5, 1.0]), st.integers(1, 25))
def test_deletion_is_greedy_whatever_sets_are_looked_at(looked_at: int, seed: int, rho: float, most: int) -> None:
    rng = np.random.default_rng(seed)
    positives = rng.random((30, 5)) < np.array([0.6, 0.4, 0.3, 0.2, 0.1])
    offered, keys = positives.sum(axis=0) + rng.integers(0, 9, 5).astype(np.float64), rng.permutation(30)
    weights = np.where(offered > 0, offered**rho, 0)
    before, class_distribution.LOOKED_AT = class_distribution.LOOKED_AT, looked_at
    try:
        left = thinned(positives, offered, rho, most, keys)
    finally:
        class_distribution.LOOKED_AT = before
    assert left.tolist() == naive(positives, weights / weights.sum(), most, keys)


@pytest.mark.parametrize("batch", [0, 10])
def test_uniform_targets_balance_an_unequal_stream(batch: int) -> None:
    memory = Memory(Budget(total=50), ClassDistribution(batch=batch), (TaskClasses(0, 5),), seed=1)
    memory.update(0, np.arange(2000), np.eye(5, dtype=np.float32)[np.repeat(range(5), [1000, 500, 300, 140, 60])])
    assert memory.labels.sum(axis=0).tolist() == [10] * 5


def test_rows_without_a_positive_are_kept_while_others_only_disturb() -> None:
    positives = np.array([[1, 0], [1, 0], [0, 1], [0, 0]], dtype=np.bool_)
    assert thinned(positives, np.array([2.0, 1.0]), 0.0, 3, np.arange(4)).tolist() == [1, 2, 3]
    assert thinned(positives, np.array([2.0, 1.0]), 0.0, 2, np.arange(4)).tolist() == [1, 2]
    assert thinned(positives[3:].repeat(3, axis=0), np.zeros(2), 0.0, 1, np.array([5, 3, 4])).tolist() == [0]
