"""Statistics over seeds as pure functions: intervals, differences paired by seed, correction for many comparisons.

Whatever needs a spread is NaN for fewer than two values: one seed says nothing about the next one.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit

from clsim.randomness import raw_integers

CONFIDENCE = 0.95
LEVEL = 1 - CONFIDENCE
"""A difference is called significant where its (corrected) p is below."""
RESAMPLES = 10_000


def standard_deviation(values: ArrayLike) -> float:
    """The sample's standard deviation (n - 1) of [n] values; NaN for fewer than two, or if a value is NaN."""
    known = np.asarray(values, dtype=float)
    return float(known.std(ddof=1)) if len(known) > 1 else math.nan


def half_width(values: ArrayLike, confidence: float = CONFIDENCE) -> float:
    """Half width of the confidence interval of the mean of [n] values by Student's t with n - 1 degrees of freedom.

    The interval is exact for values from a normal distribution. NaN for fewer than two, or if a value is NaN.
    """
    n = np.size(values)
    if n < 2:
        return math.nan
    return float(stdtrit(n - 1, (1 + confidence) / 2)) * standard_deviation(values) / math.sqrt(n)


def bootstrap_interval(
    values: ArrayLike, confidence: float = CONFIDENCE, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of [n] values (Efron & Tibshirani, 1993, chapter 13).

    Given paired differences it is the paired bootstrap: a pair is drawn whole. It assumes no distribution, but for few
    values it is too narrow (its width tends to sqrt((n - 1) / n) of the normal interval's). Equal values in whatever
    order give equal bounds. NaN for fewer than two, or if a value is NaN.
    """
    sample = np.sort(np.asarray(values, dtype=float))
    n = len(sample)
    if n < 2 or np.isnan(sample).any():
        return math.nan, math.nan
    drawn = raw_integers(resamples * n, seed, "bootstrap", n) % np.uint64(n)
    means = sample[drawn.astype(np.int64)].reshape(resamples, n).mean(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def paired_differences(own: Mapping[Hashable, float], baseline: Mapping[Hashable, float]) -> NDArray[np.float64]:
    """own - baseline for each key that both have, float64 [pairs], in the order of `own`."""
    return np.array([value - baseline[key] for key, value in own.items() if key in baseline], dtype=float)


def p_value(differences: ArrayLike) -> float:
    """Two-sided p of the paired t test: how often a mean this far from zero comes about if the true one is zero.

    Args:
        differences: [n], of each pair.

    Returns:
        0..1; 1 if all are zero. NaN for fewer than two, if one is NaN, or if all are the same but not zero.
        DECIDED: without any spread the test's p is 0, but seeds that change nothing are no independent observations.
    """
    known = np.asarray(differences, dtype=float)
    if len(known) < 2 or np.isnan(known).any():
        return math.nan
    if not known.any():
        return 1.0
    spread = standard_deviation(known)
    if spread <= 1e-12 * np.abs(known).max():
        return math.nan
    t = float(known.mean()) / (spread / math.sqrt(len(known)))
    return float(2 * stdtr(len(known) - 1, -abs(t)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: p of each of m comparisons such that calling those below a level significant errs
    anywhere among them with at most that probability, whatever their dependence (Holm, Scand. J. Statist. 6, 1979).

    A NaN stays NaN and does not count as a comparison.
    """
    order = sorted((i for i, p in enumerate(p_values) if not math.isnan(p)), key=lambda i: p_values[i])
    corrected = [math.nan] * len(p_values)
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[i]))
        corrected[i] = highest
    return corrected
