"""Factors over the steps of a task."""

from __future__ import annotations

import math

import pytest

from clsim.training.schedules import half_sine


def test_alpha_is_zero_at_both_ends_and_one_in_the_middle() -> None:
    for total in (1, 7, 10, 1000):
        assert half_sine(0, total) == half_sine(total, total) == 0
    assert half_sine(50, 100) == 1
    assert half_sine(25, 100) == pytest.approx(math.sqrt(0.5))
    assert all(half_sine(step, 9) > 0 for step in range(1, 9))
