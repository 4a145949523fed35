"""Counts of positives and the rarest class of an image."""

from __future__ import annotations

import numpy as np
import pytest

from clsim.scenario.plan import counts
from clsim.scenario.plan.counts import count_positives, rarest_class


@pytest.mark.parametrize("rows_at_a_time", [1, 7, 1000])
def test_counts_and_the_rarest_class_in_parts(monkeypatch: pytest.MonkeyPatch, rows_at_a_time: int) -> None:
    monkeypatch.setattr(counts, "ROWS_AT_A_TIME", rows_at_a_time)
    labels = np.random.default_rng(0).choice(np.array([1, 0, 0, -1], dtype=np.int8), (50, 5))
    positives = (labels == 1).sum(axis=0)
    rows = np.array([3, 4, 9])
    np.testing.assert_array_equal(count_positives(labels, rows), (labels[rows] == 1).sum(axis=0))
    for row, found in zip(labels, rarest_class(labels), strict=True):
        shown = np.flatnonzero(row == 1)
        assert found == (min(shown, key=lambda column: (positives[column], column)) if len(shown) else -1)
    assert rarest_class(labels[:0]).tolist() == []
