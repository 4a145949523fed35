"""Factors over the steps of a task as pure functions, without torch, so that a report can draw them."""

from __future__ import annotations

import math


def half_sine(step: int, total: int) -> float:
    """sin(pi step / total), exactly 0 at both ends, where MORE's objective must not jump; 1 in the middle.

    Args:
        step: 0 ... total.
        total: steps of the task.
    """
    return math.sin(math.pi * min(step, total - step) / total)
