"""Metrics as pure functions on arrays. AP, AUC and LRAP are fractions 0..1; mAP and forgetting are in percent points.

Undefined values are NaN: the AP of a class without a positive, R[t, k] for k > t, forgetting of a single task.
Metrics that need the scores of each class in order share one sort: `sort_classes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clsim.vocabulary import UNKNOWN

Floats = NDArray[np.float64]


def average_precision(scores: ArrayLike, targets: ArrayLike) -> Floats:
    """Average precision of each class: all-point, not interpolated, exact with ties.

    With P positives, AP = 1/P sum over positives i of precision at threshold s_i; equal scores are one threshold.
    This equals scikit-learn's `average_precision_score` and takes two sorts a class, no argsort.

    Args:
        scores: float [N, C], arrays or tensors; only the order counts. Give logits rather than probabilities: a
            float32 sigmoid saturates and makes ties.
        targets: [N, C], 1 present, 0 absent, -1 unknown (the entry is ignored).

    Returns:
        float64 [C] in 0..1; NaN for a class without a positive.

    Raises:
        ValueError: shapes differ or are not [N, C], a score is NaN, or a target is none of 1, 0, -1.

    Example:
        >>> average_precision([[0.9], [0.8], [0.1]], [[1], [0], [1]]).round(3)
        array([0.833])
    """
    return average_precisions(sort_classes(scores, targets))


def roc_auc(scores: ArrayLike, targets: ArrayLike) -> Floats:
    """Area under the ROC curve of each class, exact with ties.

    AUC = 1/(P N) sum over pairs (positive, negative) of [s_i > s_j] + [s_i = s_j] / 2: the chance that a positive
    scores above a negative. This equals scikit-learn's `roc_auc_score`.

    Args:
        scores: float [N, C], arrays or tensors; only the order counts.
        targets: [N, C], 1 present, 0 absent, -1 unknown (the entry is ignored).

    Returns:
        float64 [C] in 0..1, 0.5 for constant scores; NaN for a class without a positive or without a negative.

    Raises:
        ValueError: as `average_precision`.

    Example:
        >>> roc_auc([[0.9], [0.8], [0.1], [0.8]], [[1], [0], [0], [1]])
        array([0.875])
    """
    return roc_aucs(sort_classes(scores, targets))


def label_ranking_average_precision(scores: ArrayLike, targets: ArrayLike) -> float:
    """LRAP: for each image the AP of its classes as ranked by its scores, mean over the images; exact with ties.

    For a positive class j of image i, L / n: of the n classes of i that score at least s_ij, the L that are present.
    LRAP = mean over images of the mean over their positive classes. This equals scikit-learn's
    `label_ranking_average_precision_score`, but that counts an image without a positive as 1.

    DECIDED: an image without a positive is left out, as mAP leaves out a class without one.

    Args:
        scores: float [N, C], arrays or tensors, comparable across classes; only the order within an image counts.
        targets: [N, C], 1 present, 0 absent, -1 unknown (the entry is ignored).

    Returns:
        A fraction in 0..1; NaN where no image has a positive.

    Raises:
        ValueError: as `average_precision`.

    Example:
        >>> label_ranking_average_precision([[0.75, 0.5, 1.0], [1.0, 0.2, 0.1]], [[1, 0, 0], [0, 0, 1]])
        0.41666666666666663
    """
    values, truth = scores_and_truth(scores, targets)
    present = truth == 1
    images, classes = np.divmod(np.flatnonzero(present), max(values.shape[1], 1))
    if not len(images):
        return float("nan")
    known = None if truth.min() > UNKNOWN else truth != UNKNOWN
    precision = np.empty(len(images))
    for start in range(0, len(images), _POSITIVES_AT_ONCE):
        part = slice(start, start + _POSITIVES_AT_ONCE)
        rows = images[part]
        at_least = values[rows] >= values[rows, classes[part], None]
        if known is not None:
            at_least &= known[rows]
        precision[part] = _row_counts(at_least & present[rows]) / _row_counts(at_least)
    total, positives = np.bincount(images, weights=precision), np.bincount(images)
    return float(np.mean(total[positives > 0] / positives[positives > 0]))


_POSITIVES_AT_ONCE = 2048
"""Positives whose images are compared at once, which bounds the memory of LRAP to so many rows of scores."""


def _row_counts(entries: NDArray[np.bool_]) -> NDArray[np.int32]:
    return entries.view(np.uint8).sum(axis=1, dtype=np.int32)  # twice as fast as of bool


@dataclass(frozen=True, eq=False)
class ClassScores:
    """The scores of one class in order.

    Attributes:
        known: [n] ascending, of the entries whose truth is known.
        positives: [P] ascending, of those that are present.
    """

    known: NDArray[Any]
    positives: NDArray[Any]

    @cached_property
    def _below(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For each positive the number of known scores, and of positives, below it."""
        return np.searchsorted(self.known, self.positives), np.searchsorted(self.positives, self.positives)

    @property
    def average_precision(self) -> float:
        """As `average_precision`; NaN without a positive."""
        if not len(self.positives):
            return float("nan")
        below, positives_below = self._below
        return float(np.mean((len(self.positives) - positives_below) / (len(self.known) - below)))

    @property
    def roc_auc(self) -> float:
        """As `roc_auc`; NaN without a positive or without a negative."""
        negatives = len(self.known) - len(self.positives)
        if not negatives or not len(self.positives):
            return float("nan")
        below, positives_below = self._below
        up_to = np.searchsorted(self.known, self.positives, side="right")
        up_to -= np.searchsorted(self.positives, self.positives, side="right")
        return float(np.mean(below - positives_below + up_to) / (2 * negatives))


def sort_classes(scores: ArrayLike, targets: ArrayLike) -> list[ClassScores]:
    """Sort the scores of each class once, for every metric that needs their order.

    Args:
        scores: float [N, C], arrays or tensors.
        targets: [N, C], 1 present, 0 absent, -1 unknown (the entry is left out).

    Returns:
        C classes.

    Raises:
        ValueError: as `average_precision`.
    """
    values, truth = scores_and_truth(scores, targets)
    by_class, truth = np.ascontiguousarray(values.T), np.ascontiguousarray(truth.T)
    return [_sorted(s, t) for s, t in zip(by_class, truth, strict=True)]


def _sorted(scores: NDArray[Any], truth: NDArray[np.int8]) -> ClassScores:
    known = scores if truth.min(initial=0) > UNKNOWN else scores[truth != UNKNOWN]
    return ClassScores(np.sort(known), np.sort(scores[truth == 1]))


def average_precisions(classes: Sequence[ClassScores]) -> Floats:
    """`average_precision` of classes that are sorted already, float64 [C]."""
    return np.array([each.average_precision for each in classes], dtype=np.float64)


def roc_aucs(classes: Sequence[ClassScores]) -> Floats:
    """`roc_auc` of classes that are sorted already, float64 [C]."""
    return np.array([each.roc_auc for each in classes], dtype=np.float64)


def scores_and_truth(scores: ArrayLike, targets: ArrayLike) -> tuple[NDArray[Any], NDArray[np.int8]]:
    """Both as arrays [N, C], targets as int8, after the checks that every metric here needs.

    Raises:
        ValueError: shapes differ or are not [N, C], a score is NaN, or a target is none of 1, 0, -1.
    """
    values, given = _array(scores), _array(targets)
    if values.ndim != 2 or values.shape != given.shape:
        raise ValueError(f"scores {values.shape} and targets {given.shape} must both be [N, C]")
    if values.size and np.isnan(values.min()):
        raise ValueError("scores contain NaN")
    with np.errstate(invalid="ignore"):
        truth = given.astype(np.int8, copy=False)
    if truth.min(initial=0) < UNKNOWN or truth.max(initial=0) > 1 or (truth is not given and (truth != given).any()):
        raise ValueError("targets must be 1, 0 or -1")
    return values, truth


def _array(values: Any) -> NDArray[Any]:
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        if not values.dtype.is_floating_point or values.dtype.itemsize >= 4:
            return np.asarray(values)
        return np.asarray(values.float())
    return np.asarray(values)


def mean_ap(per_class: ArrayLike, empty_classes: str = "skip") -> float:
    """mAP in percent of per-class AP, float [C] in 0..1.

    Args:
        empty_classes: "skip" leaves classes without a positive out of the mean, "zero" counts them as 0 (KRT, ASL).

    Returns:
        NaN when no class is left.
    """
    values = np.asarray(per_class, dtype=np.float64)
    if empty_classes == "zero":
        values = np.nan_to_num(values, nan=0.0)
    values = values[~np.isnan(values)]
    return 100 * float(values.mean()) if len(values) else float("nan")


def top1_accuracy(scores: ArrayLike, classes: ArrayLike) -> float:
    """Share of images whose highest score is that of their class, in percent; NaN without an image.

    Equal scores go to the first of them.

    Args:
        scores: float [N, S], arrays or tensors.
        classes: int [N], the one class of each image, 0 ... S - 1.

    Raises:
        ValueError: shapes that do not fit, a class without a column, or a score that is NaN.
    """
    values, truth = _array(scores), _array(classes)
    if values.ndim != 2 or truth.shape != values.shape[:1]:
        raise ValueError(f"scores {values.shape} must be [N, S] and classes {truth.shape} [N]")
    if not len(truth):
        return float("nan")
    if truth.min() < 0 or truth.max() >= values.shape[1]:
        raise ValueError(f"classes must be in 0..{values.shape[1] - 1}")
    if np.isnan(values.min()):
        raise ValueError("scores contain NaN")
    return 100 * float((values.argmax(axis=1) == truth).mean())


def forgetting(history: ArrayLike) -> Floats:
    """Forgetting of each column: max_{t < T} h[t] - h[T], in the unit of `history`.

    (Chaudhry et al., ECCV 2018. Avalanche's own Forgetting is first - last, PRS's is relative.)

    Args:
        history: float [T + 1, K], a value after each task; NaN where it is not yet defined.

    Returns:
        float64 [K]; NaN for columns without a value before the last row. May be negative.

    Example:
        >>> forgetting([[80.0, np.nan], [60.0, 70.0]])  # the second column has no earlier value
        array([20., nan])
    """
    values = np.asarray(history, dtype=np.float64)
    best = np.full(values.shape[1], np.nan)
    for row in values[:-1]:
        best = np.fmax(best, row)
    return best - values[-1]


def backward_transfer(matrix: ArrayLike) -> float:
    """mean over k < T of R[T, k] - R[k, k] (Lopez-Paz & Ranzato, NeurIPS 2017); NaN for one task.

    Args:
        matrix: R, float [T + 1, T + 1], mean AP over the classes of task k after task t; NaN for k > t.
    """
    values = np.asarray(matrix, dtype=np.float64)
    return finite_mean((values[-1] - np.diagonal(values))[:-1])


def finite_mean(values: ArrayLike) -> float:
    """Mean without NaN; NaN when nothing is left."""
    array = np.asarray(values, dtype=np.float64)
    array = array[~np.isnan(array)]
    return float(array.mean()) if len(array) else float("nan")
