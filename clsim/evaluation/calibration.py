"""Calibration: how far predicted probabilities are from the share of entries that is truly present.

An entry is an image and a class, its probability p = sigmoid(logit). DECIDED: 15 bins of equal width on p, as most
papers since Guo et al. (ICML 2017) take; bin b holds b / 15 <= p < (b + 1) / 15, the last one p = 1 too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clsim.evaluation.metrics import ClassScores, Floats, sort_classes
from clsim.evaluation.thresholds import logit

BINS = 15
"""Bins of equal width in 0..1."""


@dataclass(frozen=True, eq=False)
class Reliability:
    """Known entries of each class by bin of their probability: a reliability diagram in numbers.

    Attributes:
        entries: int64 [C, B], number of entries.
        present: int64 [C, B], those that are truly present.
        predicted: float64 [C, B], sum of their probabilities.
    """

    entries: NDArray[np.int64]
    present: NDArray[np.int64]
    predicted: Floats

    def pooled(self) -> Reliability:
        """Add up all classes: the same with C = 1."""
        return Reliability(*(part.sum(axis=0, keepdims=True) for part in (self.entries, self.present, self.predicted)))

    def bins(self) -> dict[str, list[Any]]:
        """Return plain values of all classes together, each of B bins: entries, present, predicted."""
        pooled = self.pooled()
        return {name: getattr(pooled, name)[0].tolist() for name in ("entries", "present", "predicted")}

    @classmethod
    def of(cls, bins: Mapping[str, Sequence[float]]) -> Reliability:
        """From what `bins` gives, C = 1."""
        entries, present = (np.array([bins[name]], dtype=np.int64) for name in ("entries", "present"))
        return cls(entries, present, np.array([bins["predicted"]], dtype=np.float64))


def reliability(scores: ArrayLike, targets: ArrayLike, bins: int = BINS) -> Reliability:
    """Divide the known entries of each class into bins of equal width by their probability.

    Logits are compared with the logits of the bins' borders in float64, so that no rounded sigmoid moves an entry.

    Args:
        scores: float [N, C], logits, arrays or tensors.
        targets: [N, C], 1 present, 0 absent, -1 unknown (the entry is ignored).
        bins: number of bins, at least 1.

    Raises:
        ValueError: as `average_precision`, or fewer bins than 1.
    """
    return reliability_of(sort_classes(scores, targets), bins)


def reliability_of(classes: Sequence[ClassScores], bins: int = BINS) -> Reliability:
    """`reliability` of classes that are sorted already."""
    if bins < 1:
        raise ValueError(f"bins {bins} must be at least 1")
    borders = np.array([logit(border / bins) for border in range(1, bins)])
    entries, present, predicted = (np.zeros((len(classes), bins)) for _ in range(3))
    for place, each in enumerate(classes):
        starts = np.append(0, np.searchsorted(each.known, borders))
        entries[place] = np.diff(starts, append=len(each.known))
        present[place] = np.diff(np.searchsorted(each.positives, borders), prepend=0, append=len(each.positives))
        sums = np.add.reduceat(np.append(_sigmoid(each.known), 0.0), starts)  # of an empty bin: of the next entry
        predicted[place] = np.where(entries[place] > 0, sums, 0)
    return Reliability(entries.astype(np.int64), present.astype(np.int64), predicted)


def expected_calibration_error(table: Reliability) -> float:
    """ECE of all entries together: sum over bins of n_b / n |mean probability - share present|.

    Entries of all classes share the bins. Where absent entries abound, those near p = 0 carry most of the weight. This
    equals torchmetrics' `binary_calibration_error` of the flattened entries with norm "l1".

    Returns:
        A fraction in 0..1; NaN without a known entry.
    """
    pooled = table.pooled()
    return float(_class_errors(pooled)[0]) if pooled.entries.any() else math.nan


def class_calibration_error(table: Reliability) -> float:
    """Mean over classes of the ECE of each class by itself, so that errors of two classes do not cancel.

    DECIDED: a class without a positive is left out, as in mAP, though its own error is defined. A class without a
    negative counts.

    Returns:
        A fraction in 0..1; NaN where no class has a positive.
    """
    some = table.present.any(axis=1)
    return float(np.mean(_class_errors(table)[some])) if some.any() else math.nan


def _class_errors(table: Reliability) -> Floats:
    gaps = np.abs(table.predicted - table.present).sum(axis=1)
    return gaps / np.maximum(table.entries.sum(axis=1), 1)


def _sigmoid(logits: NDArray[np.floating]) -> Floats:
    with np.errstate(over="ignore"):  # exp(800) is inf, and 1 / (1 + inf) is 0
        return 1 / (1 + np.exp(-logits.astype(np.float64)))
