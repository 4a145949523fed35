"""Statistics over seeds, against SciPy and numbers computed by hand."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from clsim.report.intervals import (
    bootstrap_interval,
    half_width,
    holm,
    p_value,
    paired_differences,
    standard_deviation,
)

SAMPLES = [np.random.default_rng(n).normal(3, 5, n) for n in (2, 3, 5, 20)]


@pytest.mark.parametrize("values", SAMPLES)
def test_interval_and_test_are_scipys(values: np.ndarray) -> None:
    for confidence in (0.9, 0.95):
        low, high = stats.t.interval(confidence, len(values) - 1, loc=values.mean(), scale=stats.sem(values))
        half = half_width(values, confidence)
        assert (values.mean() - half, values.mean() + half) == pytest.approx((low, high))
    assert p_value(values) == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert p_value(-values) == pytest.approx(p_value(values))


def test_interval_by_hand() -> None:
    assert standard_deviation([60, 64]) == pytest.approx(8**0.5)
    assert half_width([60, 64]) == pytest.approx(12.7062 * 2, rel=1e-5)  # t(0.975, 1) = 12.7062, standard error 2


@pytest.mark.parametrize("values", [[], [3.0], [1.0, math.nan, 2.0]])
def test_what_has_no_spread_is_undefined(values: list[float]) -> None:
    assert math.isnan(standard_deviation(values))
    assert math.isnan(half_width(values))
    assert math.isnan(p_value(values))
    assert all(map(math.isnan, bootstrap_interval(values)))


def test_differences_without_spread_prove_nothing() -> None:
    assert p_value([0.0, 0.0, 0.0]) == 1
    assert math.isnan(p_value([0.1 + 0.2, 0.3, 0.3]))  # equal but for rounding


def test_bootstrap_agrees_with_scipys() -> None:
    values = SAMPLES[-1]
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=1).confidence_interval
    assert bootstrap_interval(values, resamples=20_000) == pytest.approx((theirs.low, theirs.high), abs=0.1)


def test_bootstrap_of_two_values_by_hand() -> None:
    """The mean of a resample is 0 or 4 with probability 1/4 each, else 2: 95 % of the means reach from 0 to 4."""
    assert bootstrap_interval([0.0, 4.0]) == (0, 4)
    assert bootstrap_interval([0.0, 4.0], confidence=0.4) == (2, 2)


def test_bootstrap_depends_on_its_seed_and_on_nothing_else() -> None:
    values = SAMPLES[2]
    code = f"from clsim.report.intervals import *; print(bootstrap_interval({values[::-1].tolist()}))"
    there = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert there.strip() == str(bootstrap_interval(values))
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values)


def test_pairs_are_those_that_both_have() -> None:
    own, baseline = {(0, 1): 5.0, (1, 1): 7.0, (2, 1): 8.0}, {(2, 1): 1.0, (0, 1): 4.0, (0, 2): 9.0}
    np.testing.assert_array_equal(paired_differences(own, baseline), [1.0, 7.0])
    assert paired_differences(own, {}).shape == (0,)


def test_holm_by_hand() -> None:
    """Times 4, 3, 2, 1 from the smallest on, never below the one before."""
    assert holm([0.04, 0.01, 0.03, 0.005]) == pytest.approx([0.06, 0.03, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([math.nan, 0.02]) == pytest.approx([math.nan, 0.02], nan_ok=True)
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_keeps_the_order_and_lies_between_no_correction_and_bonferronis(p_values: list[float]) -> None:
    corrected = holm(p_values)
    for p, q in zip(p_values, corrected, strict=True):
        assert p <= q <= min(1, len(p_values) * p)
    for (p, q), (other_p, other_q) in zip(*[list(zip(p_values, corrected, strict=True))] * 2, strict=True):
        assert (p < other_p) <= (q <= other_q)


def test_the_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    samples = rng.normal(0, 1, (4000, 4))
    covered = np.mean([abs(sample.mean()) <= half_width(sample) for sample in samples])
    assert covered == pytest.approx(0.95, abs=0.015)
