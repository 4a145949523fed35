from __future__ import annotations

import numpy as np
import pytest

from clsim.report.figures import _spread_apart, styles, task_forgetting


def test_forgetting_per_task_takes_the_best_earlier_value() -> None:
    once = [[60.0, None, None], [80.0, 70.0, None], [50.0, 40.0, 90.0]]
    matrix = np.array([once, once], dtype=float)
    np.testing.assert_array_equal(task_forgetting(matrix), [[30.0, 30.0]] * 2)  # 80 - 50, not 60 - 50; 70 - 40
    assert task_forgetting(matrix[:, :1, :1]).shape == (2, 0)


def test_labels_are_moved_apart_in_order() -> None:
    assert _spread_apart([50.0, 10.0, 50.0, 51.0], gap=4) == pytest.approx([46 + 1 / 3, 10, 50 + 1 / 3, 54 + 1 / 3])


def test_looks_differ_between_strategies() -> None:
    names = [f"s{i}" for i in range(24)]
    looks = styles([*names, "joint"], upper="joint")
    assert len({(look.colour, look.marker) for look in looks.values()}) == 25
