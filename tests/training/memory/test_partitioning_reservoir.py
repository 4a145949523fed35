"""PRS: admission, eviction and shares against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from clsim.scenario.plan.task_classes import TaskClasses
from clsim.training.memory.partitioning_reservoir import PartitioningReservoir, admission, leaving
from clsim.training.memory.store import Budget, Memory

STORED = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 1]], dtype=np.bool_)  # A{0} B{0} C{0,1} D{1,2}
OFFERED = np.array([6.0, 3.0, 1.0])
COUNTS = STORED.sum(axis=0).astype(np.float64)
SHARES = {-0.03: (0.325073, 0.331903, 0.343024), 0.0: (1 / 3, 1 / 3, 1 / 3), 1.0: (0.6, 0.3, 0.1)}
DRAW = {-0.03: (0.678139, 0.239456, 0.082405), 0.0: (0.665241, 0.244728, 0.090031), 1.0: (0.168242, 0.374429, 0.457329)}
LEAVES = {-0.03: "CCD", 0.0: "ACD", 1.0: "CDD"}
ADMITTED = {
    -0.03: {"0": 0.216715, "1": 0.442537, "2": 1, "02": 0.994758, "12": 0.933549, "012": 0.929320},
    0.0: {"0": 0.222222, "1": 0.444444, "2": 1, "02": 0.994794, "12": 0.933776, "012": 0.929578},
    1.0: {"0": 0.4, "1": 0.4, "2": 0.4, "02": 0.4, "12": 0.4, "012": 0.4},
}


@pytest.mark.parametrize("q", SHARES)
def test_shares_follow_the_counts_of_what_was_offered(q: float) -> None:
    selection = PartitioningReservoir(q)
    selection.offered, selection.shares = OFFERED.copy(), np.zeros(3)
    selection._count(np.zeros(3, dtype=np.bool_), np.ones(3, dtype=np.bool_))
    np.testing.assert_allclose(selection.shares, SHARES[q], atol=1e-6)
    selection._count(np.array([True, False, False]), np.array([True, True, False]))
    assert selection.shares[:2].sum() == pytest.approx(1)
    assert selection.shares[2] == pytest.approx(SHARES[q][2], abs=1e-6), "a class without a row keeps its share"


@pytest.mark.parametrize("q", SHARES)
def test_a_row_is_admitted_by_its_rarest_classes(q: float) -> None:
    for columns, expected in ADMITTED[q].items():
        shown = np.isin(np.arange(3), [int(column) for column in columns])
        assert admission(shown, OFFERED, np.array(SHARES[q]), 4) == pytest.approx(expected, abs=2e-6)
    assert admission(np.zeros(3, dtype=np.bool_), OFFERED, np.array(SHARES[q]), 4) == 0


def test_a_class_that_is_new_is_always_admitted() -> None:
    offered, shares = np.array([6.0, 0.0]), np.array([1.0, 0.0])
    assert admission(np.array([False, True]), offered, shares, 4) == 1
    assert admission(np.array([True, True]), offered, shares, 4) == pytest.approx(0.002473 * 4 / 6 + 0.997527, abs=1e-6)


@pytest.mark.parametrize("q", SHARES)
def test_the_row_that_leaves(q: float) -> None:
    ends = np.cumsum(DRAW[q])
    for column, expected in enumerate(LEAVES[q]):
        for u in (ends[column] - DRAW[q][column] + 1e-5, ends[column] - 1e-5):
            assert "ABCD"[leaving(STORED, COUNTS, np.array(SHARES[q]), u)] == expected


def shares_kept(q: float) -> list[int]:
    """Stored rows of each class after 4000 rows of one class each, 50, 25, 15, 7 and 3 in a hundred."""
    memory = Memory(Budget(total=50), PartitioningReservoir(q), (TaskClasses(0, 5),), seed=1)
    memory.update(0, np.arange(4000), np.eye(5, dtype=np.float32)[np.repeat(range(5), [2000, 1000, 600, 280, 120])])
    return memory.labels.sum(axis=0).astype(int).tolist()


def test_equal_shares_balance_an_unequal_stream_and_proportional_ones_follow_it() -> None:
    assert all(abs(count - 10) <= 2 for count in shares_kept(0.0))
    np.testing.assert_allclose(shares_kept(1.0), [25, 12.5, 7.5, 3.5, 1.5], atol=5)


def test_soft_and_relabelled_entries_do_not_count() -> None:
    memory = Memory(Budget(total=4), PartitioningReservoir(), (TaskClasses(0, 2), TaskClasses(2, 3)), seed=0)
    memory.update(0, np.arange(3), np.array([[1, 0.7, -1], [0.4, 1, -1], [0, 0, -1]], dtype=np.float32))
    memory.relabel(np.arange(3), np.array([2]), np.ones((3, 1), dtype=np.float32), 1)
    memory.update(1, np.array([3]), np.array([[-1, -1, 1]], dtype=np.float32))
    assert isinstance(memory.selection, PartitioningReservoir)
    assert memory.selection.offered.tolist() == [1, 1, 1]
    assert memory.selection.rows == 4
    assert memory.positives.sum() == 3
