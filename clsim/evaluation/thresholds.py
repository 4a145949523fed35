"""Confusion counts of scores at a threshold, and the F1 and error rates that follow from them.

A class counts as predicted where p > threshold, p = sigmoid(logit). Results are fractions 0..1, NaN where undefined.
The same scores can have a CF1 of 0.30 at threshold 0.5 and of 0.08 at 0.8: name the threshold and the definition.
A threshold of its own for each class moves predictions and leaves every rank, and so mAP, as it is: `share_cutoffs`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clsim.evaluation.metrics import ClassScores, Floats, scores_and_truth, sort_classes

Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Confusion:
    """Known entries of each class by truth and prediction.

    Attributes:
        tp: int64 [C], present and predicted.
        fp: int64 [C], absent but predicted.
        fn: int64 [C], present but not predicted.
        tn: int64 [C], absent and not predicted.
    """

    tp: Counts
    fp: Counts
    fn: Counts
    tn: Counts

    def part(self, start: int, stop: int) -> Confusion:
        """The counts of the classes [start, stop)."""
        return Confusion(*(counts[start:stop] for counts in (self.tp, self.fp, self.fn, self.tn)))


def confusion(
    scores: ArrayLike, targets: ArrayLike, threshold: float, scale: Literal["logits", "probabilities"] = "logits"
) -> Confusion:
    """Confusion counts of each class at a probability threshold.

    Logits are compared with the threshold's own logit log(t / (1 - t)) in float64, so that no float32 sigmoid rounds a
    score onto the threshold. p = t is not predicted.

    Args:
        scores: float [N, C], arrays or tensors.
        targets: [N, C], 1 present, 0 absent, -1 unknown (the entry is ignored).
        threshold: a probability, 0 < threshold < 1.
        scale: what the scores are.

    Raises:
        ValueError: as `average_precision`; a threshold or a probability out of its range.

    Example:
        >>> counts = confusion([[2.0], [-1.0], [0.5]], [[1], [1], [0]], threshold=0.5)
        >>> counts.tp, counts.fp, counts.fn, counts.tn
        (array([1]), array([1]), array([1]), array([0]))
    """
    if not 0 < threshold < 1:
        raise ValueError(f"threshold {threshold} must lie between 0 and 1")
    values, truth = scores_and_truth(scores, targets)
    if scale == "probabilities" and values.size and not 0 <= values.min() <= values.max() <= 1:
        raise ValueError("probabilities must lie within 0..1")
    cutoff = threshold if scale == "probabilities" else logit(threshold)
    return confusion_above(sort_classes(values, truth), np.full(values.shape[1], cutoff))


def confusion_above(classes: Sequence[ClassScores], cutoffs: Floats) -> Confusion:
    """Confusion counts where a score above the cutoff of its class counts as predicted.

    Args:
        classes: the sorted scores of C classes.
        cutoffs: float64 [C], on the scale of the scores; compared in float64.
    """
    rows = []
    for each, cutoff in zip(classes, cutoffs, strict=True):
        # An array, because a Python float would be rounded to the type of the scores.
        above, tp = (len(s) - np.searchsorted(s, np.array([cutoff]), "right")[0] for s in (each.known, each.positives))
        positives, negatives = len(each.positives), len(each.known) - len(each.positives)
        rows.append((tp, above - tp, positives - tp, negatives - (above - tp)))
    return Confusion(*np.array(rows, dtype=np.int64).reshape(-1, 4).T)


def share_cutoffs(classes: Sequence[ClassScores], shares: Floats) -> Floats:
    """Cutoffs above which the given share of each class's known entries lies, float64 [C].

    Of n entries the round(share * n) highest are above it, fewer where scores tie with the next one.

    Args:
        classes: the sorted scores of C classes.
        shares: float64 [C] in 0..1.

    Example:
        >>> share_cutoffs(sort_classes([[3.0], [1.0], [2.0], [0.0]], [[1], [1], [0], [0]]), np.array([0.5]))
        array([1.])
    """
    cutoffs = np.full(len(classes), -np.inf)
    for place, (each, share) in enumerate(zip(classes, shares, strict=True)):
        below = len(each.known) - round(share * len(each.known))
        if below:
            cutoffs[place] = each.known[below - 1]
    return cutoffs


def logit(probability: float) -> float:
    """log(p / (1 - p)) in float64, 0 < p < 1."""
    return math.log(probability / (1 - probability))


def cf1(counts: Confusion, empty_classes: str = "skip") -> float:
    """CF1 as the mean over classes of F1 = 2 TP / (2 TP + FP + FN): KRT, CSC, L3A, MULTI-LANE.

    F1 of a class never rightly predicted is 0.

    Args:
        counts: of the classes.
        empty_classes: "skip" leaves classes without a positive out of the mean, "zero" counts them as 0 (KRT).

    Returns:
        NaN when no class is left.
    """
    tp, fp, fn = _averaged(counts, empty_classes)
    return float(np.mean(2 * tp / np.maximum(2 * tp + fp + fn, 1))) if len(tp) else math.nan


def cf1_harmonic(counts: Confusion, empty_classes: str = "skip") -> float:
    """CF1 as the harmonic mean 2 P R / (P + R) of mean precision P and mean recall R over classes: AGCN, PRS.

    P = mean of TP / (TP + FP), 0 for a class that is never predicted; R = mean of TP / (TP + FN). Never below `cf1`.

    Args:
        counts: of the classes.
        empty_classes: as in `cf1`; with "zero" precision and recall of a class without a positive are both 0.

    Returns:
        NaN when no class is left; 0 when P = R = 0.
    """
    tp, fp, fn = _averaged(counts, empty_classes)
    if not len(tp):
        return math.nan
    precision, recall = np.mean(tp / np.maximum(tp + fp, 1)), np.mean(tp / np.maximum(tp + fn, 1))
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def of1(counts: Confusion) -> float:
    """OF1 = 2 TP / (2 TP + FP + FN) of the counts pooled over all classes; 0 when nothing is present or predicted.

    DECIDED: predictions of a class without a positive count as false here; only means over classes can leave it out.
    """
    tp, fp, fn, _ = _pooled(counts)
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0


def false_positive_rate(counts: Confusion) -> float:
    """FPR = FP / (FP + TN), pooled over all classes; NaN without a negative."""
    _, fp, _, tn = _pooled(counts)
    return fp / (fp + tn) if fp + tn else math.nan


def false_negative_rate(counts: Confusion) -> float:
    """FNR = FN / (FN + TP), pooled over all classes; NaN without a positive."""
    tp, _, fn, _ = _pooled(counts)
    return fn / (fn + tp) if fn + tp else math.nan


def hamming_loss(counts: Confusion) -> float:
    """(FP + FN) / (TP + FP + FN + TN), pooled over all classes: the share of known entries predicted wrongly.

    This equals scikit-learn's `hamming_loss` where every entry is known; NaN without a known entry.
    """
    tp, fp, fn, tn = _pooled(counts)
    return (fp + fn) / (tp + fp + fn + tn) if tp + fp + fn + tn else math.nan


def predicted_positive_rate(counts: Confusion) -> float:
    """(TP + FP) / (TP + FP + FN + TN), pooled over all classes: the share of known entries predicted present."""
    tp, fp, fn, tn = _pooled(counts)
    return (tp + fp) / (tp + fp + fn + tn) if tp + fp + fn + tn else math.nan


def _averaged(counts: Confusion, empty_classes: str) -> tuple[Counts, Counts, Counts]:
    """TP, FP and FN of the classes that a mean over classes is over."""
    some = (counts.tp + counts.fn > 0) | (empty_classes == "zero")
    return counts.tp[some], counts.fp[some], counts.fn[some]


def _pooled(counts: Confusion) -> tuple[int, int, int, int]:
    return int(counts.tp.sum()), int(counts.fp.sum()), int(counts.fn.sum()), int(counts.tn.sum())
