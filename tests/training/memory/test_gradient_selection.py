"""GSS-greedy: scores of known gradients, who comes in for whom, and what an interruption must not change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clsim.scenario.plan.task_classes import TaskClasses
from clsim.training.memory.gradient_selection import GradientSelection, cosines
from clsim.training.memory.store import Budget, Memory


class Directions:
    """A network whose gradients of rows are vectors in the plane: row 100 d + k has angle d in degrees."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    def head_gradients(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        angles = np.deg2rad(self.memory.rows[positions] // 100)
        return np.ones((len(angles), 1), np.float32), np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def offered(total: int, rows: list[int], seed: int = 0, portion: int = 1) -> Memory:
    """A memory of one class after rows have come in portions; subsets are single rows, so that a maximum is certain."""
    memory = Memory(Budget(total=total), GradientSelection(64, 1), (TaskClasses(0, 1),), seed)
    view: Any = Directions(memory)
    for first in range(0, len(rows), portion):
        part = np.array(rows[first : first + portion])
        memory.update(0, part, np.ones((len(part), 1), np.float32), view=view, whole=False)
    return memory


def test_cosines_are_those_of_the_gradients_written_out() -> None:
    random = np.random.default_rng(0)
    error, features = random.normal(size=3), random.normal(size=4)
    errors, inputs = random.normal(size=(5, 2, 3)), random.normal(size=(5, 2, 4))
    errors[4] = 0
    row = np.outer(error, features).ravel()
    pairs = list(zip(errors, inputs, strict=True))
    means = np.stack([[np.outer(*pair).ravel() for pair in zip(*one, strict=True)] for one in pairs])
    means = means.mean(axis=1)
    expected = means[:4] @ row / np.linalg.norm(means[:4], axis=1) / np.linalg.norm(row)
    assert np.allclose(cosines(error, features, errors, inputs), [*expected, 0.0])


def test_a_memory_with_room_takes_all_and_scores_are_one_plus_the_largest_cosine() -> None:
    memory = offered(5, [0, 1, 18000, 9000, 6000])  # degrees 0, 0, 180, 90, 60
    assert memory.rows.tolist() == [0, 1, 18000, 9000, 6000]
    assert np.allclose(memory.selection.scores, [1, 2, 0, 1, 1 + np.sqrt(3) / 2], atol=1e-6)


def test_only_a_row_that_points_away_from_all_comes_in_and_never_for_one_of_score_0() -> None:
    full = offered(3, [0, 1, 2])
    for angle in (0, 45, 89):
        assert offered(3, [0, 1, 2, 100 * angle]).rows.tolist() == full.rows.tolist()
    for seed in range(5):
        memory = offered(3, [0, 1, 2, 18000], seed)  # of score 0, so that it comes in for certain
        assert 18000 in memory.rows
        assert memory.selection.scores[memory.rows == 18000] == pytest.approx(0, abs=1e-6)
        after = offered(3, [0, 1, 2, 18000, 18001, 9000], seed)
        assert 18000 in after.rows
        assert 18001 not in after.rows


def test_a_row_of_score_a_half_comes_in_two_times_of_three_for_one_of_score_1() -> None:
    taken = [offered(1, [0, 12000], seed).rows[0] == 12000 for seed in range(600)]
    assert np.mean(taken) == pytest.approx(2 / 3, abs=0.06)


def test_a_row_leaves_in_proportion_to_its_score() -> None:
    """Scores 1, 1 + cos 60 and 2 of the first three rows, and 0 of the one that comes."""
    gone = [({0, 6000, 6001} - set(offered(3, [0, 6000, 6001, 24000], seed).rows.tolist())) for seed in range(600)]
    assert all(len(rows) <= 1 for rows in gone)
    left = np.array([sum(row in rows for rows in gone) for row in (0, 6000, 6001)])
    chance = np.array([1, 1.5, 2]) / 4.5 * np.array([1, 1.5, 2]) / (np.array([1, 1.5, 2]) + 0.5)
    assert np.allclose(left / 600, chance, atol=0.06)


def test_a_state_that_was_saved_goes_on_alike() -> None:
    random = np.random.default_rng(1)
    angles = [*random.integers(0, 60, 18), *random.integers(0, 360, 22)]
    rows = [100 * int(angle) + k for k, angle in enumerate(angles)]
    whole = offered(6, rows, portion=4)
    first, rest = offered(6, rows[:20], portion=4), offered(6, [])
    rest.load_state_dict(first.state_dict())
    for start in range(20, 40, 4):
        part = np.array(rows[start : start + 4])
        view: Any = Directions(rest)
        rest.update(0, part, np.ones((4, 1), np.float32), view=view, whole=False)
    assert rest.rows.tolist() == whole.rows.tolist()
    assert np.array_equal(rest.selection.scores, whole.selection.scores)
    assert whole.rows.tolist() != rows[:6]
