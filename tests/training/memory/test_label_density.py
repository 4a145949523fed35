"""Label density: rows with many and with rare labels, relabelled ones among them."""

from __future__ import annotations

import numpy as np

from clsim.scenario.plan.task_classes import TaskClasses
from clsim.training.memory.label_density import LabelDensity
from clsim.training.memory.store import Budget, Memory

TASKS = (TaskClasses(0, 3), TaskClasses(3, 4))


def test_the_densest_rows_are_kept_and_a_shrinking_share_goes_by_completed_labels() -> None:
    memory = Memory(Budget(total=4), LabelDensity(), TASKS, seed=0)
    labels = np.array([[1, 0, 0, -1], [1, 1, 0, -1], [0, 0, 1, -1], [1, 1, 0.25, -1], [1, 0, 0, -1]], dtype=np.float32)
    memory.update(0, np.arange(5), labels)  # n = (4, 2, 1.25): densities .25, .75, .8, .95, .25
    assert memory.rows[:3].tolist() == [3, 2, 1]
    assert memory.rows[3] in (0, 4)
    memory.relabel(np.array([1]), np.array([3]), np.array([[1]], dtype=np.float32), 1)  # row 2 shows the new class
    memory.update(1, np.array([10, 11]), np.array([[-1, -1, -1, 0], [-1, -1, -1, 1]], dtype=np.float32))
    # n = (3, 2, 1.25, 2): row 3 has 1/3 + 1/2 + 1/5, row 1 1/3 + 1/2, row 2 4/5 + 1/2
    assert memory.rows.tolist() == [2, 3, 1, 11]
