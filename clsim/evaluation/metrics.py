"""Metrics as pure functions on arrays. AP is a fraction 0..1; everything called mAP or forgetting is in percent points.

Undefined values are NaN: the AP of a class without a positive, R[t, k] for k > t, forgetting of a single task.
"""

from __future__ import annotations

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
    values, truth = scores_and_truth(scores, targets)
    by_class, truth = np.ascontiguousarray(values.T), np.ascontiguousarray(truth.T)
    return np.array([_class_ap(s, t) for s, t in zip(by_class, truth, strict=True)], dtype=np.float64)


def _class_ap(scores: NDArray[Any], truth: NDArray[np.int8]) -> float:
    positives = np.sort(scores[truth == 1])
    if not len(positives):
        return float("nan")
    ranked = np.sort(scores if truth.min() > UNKNOWN else scores[truth != UNKNOWN])
    at_least = len(ranked) - np.searchsorted(ranked, positives)
    positives_at_least = len(positives) - np.searchsorted(positives, positives)
    return float(np.mean(positives_at_least / at_least))


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
