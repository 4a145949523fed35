"""Rainbow memory: of each class rows from the surest to the least sure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clsim.scenario.plan.task_classes import TaskClasses
from clsim.training.memory.rainbow import RainbowSelection, spread
from clsim.training.memory.store import Budget, Memory


@pytest.mark.parametrize(("n", "k", "first"), [(8, 4, [0, 2, 4, 6]), (7, 3, [0, 2, 4]), (3, 5, [0, 1, 2]), (4, 1, [0])])
def test_every_n_over_k_th_comes_first(n: int, k: int, first: list[int]) -> None:
    order = spread(n, k, np.arange(n)).tolist()
    assert order[: len(first)] == first
    assert sorted(order) == list(range(n))


class Votes:
    """A network that says of row r in r of the passes that its class is there."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    def augmented_logits(self, positions: NDArray[np.int64], passes: int) -> Iterator[NDArray[np.float32]]:
        rows = self.memory.rows[positions] % 100
        for number in range(passes):
            yield np.repeat(np.where(rows > number, 1.0, -1.0).astype(np.float32)[:, None], 2, axis=1)


def test_rows_are_spread_over_uncertainty_class_by_class_and_chosen_anew() -> None:
    memory = Memory(Budget(total=6), RainbowSelection(12), (TaskClasses(0, 1), TaskClasses(1, 2)), seed=0)
    view: Any = Votes(memory)
    memory.update(0, np.arange(7, 13), np.tile(np.float32([1, -1]), (6, 1)), view=view)
    assert sorted(memory.rows.tolist()) == [7, 8, 9, 10, 11, 12]
    memory.update(1, np.arange(107, 113), np.tile(np.float32([-1, 1]), (6, 1)), view=view)
    # uncertainty of r votes of 12 is (12 - r) / 12: of 12, 11, 10, 9, 8, 7 every second
    assert sorted(memory.rows.tolist()) == [8, 10, 12, 108, 110, 112]
