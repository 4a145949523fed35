"""Thresholds above which a class counts as present, from scores of training images. NumPy only."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def break_even(scores: Floats, labels: Floats, default: float) -> Floats:
    """The threshold of each class at which as many images are predicted as truly show it (precision = recall).

    Args:
        scores: probabilities, float32 [n, k], of held-out images.
        labels: their visible labels, [n, k]; -1 unknown.
        default: for classes without a positive or without a negative there.

    Returns:
        float32 [k]: halfway between the last predicted score and the next.
    """
    thresholds = np.full(scores.shape[1], default, dtype=np.float32)
    for column in range(scores.shape[1]):
        known = labels[:, column] >= 0
        positives = int((labels[known, column] == 1).sum())
        if 0 < positives < known.sum():
            falling = -np.sort(-scores[known, column])
            thresholds[column] = (falling[positives - 1] + falling[positives]) / 2
    return thresholds


def best_f1(scores: NDArray[Any], present: NDArray[Any]) -> tuple[float, float]:
    """Return the threshold of one class with the best F1, and that F1; the highest of several equal thresholds.

    Args:
        scores: [n].
        present: [n], 1 present, 0 absent; at least one is present.

    Returns:
        The threshold halfway between the last predicted score and the next (0 after the last one), and F1 in 0..1.
    """
    order = np.argsort(-scores, kind="stable")
    falling = scores[order].astype(np.float64)
    below = np.append(falling[1:], 0.0)
    positives = int(present.sum())
    f1 = 2 * np.cumsum(present[order], dtype=np.int64) / (np.arange(1, len(scores) + 1) + positives)
    f1[falling == below] = 0.0  # equal scores fall on one side
    place = int(f1.argmax())
    above, under = float(falling[place]), float(below[place])
    middle = under + (above - under) / 2
    return middle if middle < above else under, float(f1[place])


def f1_optimal(scores: Floats, labels: Floats, default: float) -> Floats:
    """Return the threshold of each class with the best F1 (RCLP), float32 [k]; arguments as of `break_even`.

    DECIDED: a class without a positive or without a negative among the images takes the default.
    """
    thresholds = np.full(scores.shape[1], default, dtype=np.float32)
    for column in range(scores.shape[1]):
        known = labels[:, column] >= 0
        present = labels[known, column] == 1
        if 0 < present.sum() < len(present):
            thresholds[column] = best_f1(scores[known, column], present)[0]
    return thresholds


def of_positives(scores: Floats, labels: Floats, default: float, statistic: str) -> Floats:
    """Return a threshold of each class from the scores of the images that show it.

    Args:
        scores: probabilities, float32 [n, k].
        labels: visible labels, [n, k]; 1 present. DECIDED: a soft label is no positive.
        default: for classes without a positive.
        statistic: "mean" or "quantile:<0..1>" of the scores p (HCP's recall rule); or "certain" (KBK's uncertain rule):
            the score theta >= 1/2 whose binary entropy h(theta) is the mean of h(p).

    Returns:
        float32 [k].

    KBK asks both q > mean p and h(q) <= mean h(p). h is concave, so mean h(p) <= h(mean p), and whoever passes both
    tests is above the upper root of h(theta) = mean h(p), and the other way round: one threshold holds both.
    """
    thresholds = np.full(scores.shape[1], default, dtype=np.float32)
    for column in range(scores.shape[1]):
        of_class = scores[labels[:, column] == 1, column].astype(np.float64)
        if not len(of_class):
            continue
        if statistic == "certain":
            thresholds[column] = upper_root(float(binary_entropy(of_class).mean()))
        elif statistic == "mean":
            thresholds[column] = of_class.mean()
        else:
            thresholds[column] = np.quantile(of_class, float(statistic.partition(":")[2]))
    return thresholds


def binary_entropy(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return h(p) = -p log p - (1 - p) log(1 - p) in nats; 0 at 0 and at 1."""
    q = np.clip(np.stack([p, 1 - p]), 1e-300, 1.0)
    entropy: NDArray[np.float64] = -(q * np.log(q)).sum(axis=0)
    return entropy


def upper_root(entropy: float) -> float:
    """Return the theta in 0.5..1 with h(theta) = entropy, by bisection; 0.5 for log 2 and above."""
    low, high = 0.5, 1.0
    if entropy >= math.log(2):
        return low
    for _ in range(60):
        middle = (low + high) / 2
        if float(binary_entropy(np.array(middle))) > entropy:
            low = middle
        else:
            high = middle
    return high


class Found(NamedTuple):
    """What a search found: the threshold, its positives an image, the steps taken, and whether it ended by itself."""

    threshold: float
    per_row: float
    steps: int
    settled: bool


STEP, BAND, MOST = 0.005, 0.1, 100
LEAST_THRESHOLD, GREATEST_THRESHOLD = 0.0001, 0.999999


def searched(scores: Floats, target: float, start: float) -> Found:
    """Return the one threshold of all old classes with `target` positives an image (KRT's dynamic rule).

    From `start` the threshold moves by 0.005, up where more than target + 0.1 positives an image are above it, down
    where fewer than target - 0.1 are, until neither is so. DECIDED: thresholds lie on a grid of rounded numbers (sums
    of 0.005 in binary fractions would depend on the way); after 100 steps, where the released code raises an error, the
    visited threshold that comes closest stands, the first of several.

    Args:
        scores: probabilities, float32 [n, k]; NaN: an entry whose label is known, which does not count.
        target: positives an image.
        start: in 0..1.
    """
    rising = np.sort(scores[~np.isnan(scores)], axis=None)
    visited: list[Found] = []
    offset = 0
    while len(visited) < MOST:
        theta = min(max(round(start + STEP * offset, 6), LEAST_THRESHOLD), GREATEST_THRESHOLD)
        above = len(rising) - int(np.searchsorted(rising, np.float32(theta), side="right"))
        per_row = above / max(1, len(scores))
        if abs(per_row - target) <= BAND:
            return Found(theta, per_row, len(visited), True)
        visited.append(Found(theta, per_row, len(visited), False))
        offset += 1 if per_row > target else -1
    best = min(visited, key=lambda found: abs(found.per_row - target))
    return best._replace(steps=MOST)
