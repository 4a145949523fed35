"""Thresholds of classes: break-even, best F1, KRT's search, and HCP's and KBK's rules by hand."""

from __future__ import annotations

import numpy as np
import pytest

from clsim.training.class_thresholds import (
    best_f1,
    binary_entropy,
    break_even,
    f1_optimal,
    of_positives,
    searched,
    upper_root,
)


@pytest.mark.parametrize("seed", range(20))
def test_at_the_break_even_threshold_precision_equals_recall(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1, 2, (40, 3))
    scores = rng.random((40, 3)).astype(np.float32)
    for column, threshold in enumerate(break_even(scores, labels, 0.8)):
        known = labels[:, column] >= 0
        assert (scores[known, column] > threshold).sum() == (labels[known, column] == 1).sum()


def test_classes_that_held_out_images_cannot_judge_keep_the_fallback() -> None:
    labels = np.array([[1, 0, -1], [1, 0, -1]])
    np.testing.assert_array_equal(
        break_even(np.full((2, 3), 0.5, np.float32), labels, 0.7), np.float32([0.7, 0.7, 0.7])
    )


@pytest.mark.parametrize("seed", range(20))
def test_no_cut_between_scores_has_a_better_f1(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, present = rng.integers(1, 9, 30).astype(np.float32) / 10, rng.random(30) < 0.4
    present[0] = True

    def f1_at(threshold: float) -> float:
        predicted = scores > threshold
        return float(2 * (predicted & present).sum() / (predicted.sum() + present.sum()))

    threshold, f1 = best_f1(scores, present)
    assert f1_at(threshold) == pytest.approx(f1)
    assert f1 >= max(f1_at(cut) for cut in (0.0, *scores))


def test_classes_without_both_signs_have_no_best_f1() -> None:
    scores = np.float32([[0.9, 0.9, 0.9], [0.2, 0.2, 0.2]])
    labels = np.array([[1, 1, 0], [0, 1, -1]])
    np.testing.assert_allclose(f1_optimal(scores, labels, 0.8), np.float32([0.55, 0.8, 0.8]))


@pytest.mark.parametrize(
    ("scores", "target", "threshold", "steps", "settled"),
    [
        ((0.9, 0.5, 0.1), 1 / 3, 0.8, 0, True),
        ((0.9, 0.5, 0.1), 2 / 3, 0.495, 61, True),  # repeated subtraction would stop at 0.4999999999999998
        ((0.9, 0.9), 0.5, 0.8, 100, False),  # to and fro at 0.9; the released code raises an error
        ((0.6, 0.1), 0.5, 0.595, 41, True),
        ((0.85, 0.81), 0.0, 0.85, 10, True),
    ],
)
def test_the_search_moves_as_krt_does(
    scores: tuple[float, ...], target: float, threshold: float, steps: int, settled: bool
) -> None:
    found = searched(np.float32(scores)[:, None], target, 0.8)
    assert (found.threshold, found.steps, found.settled) == (threshold, steps, settled)
    assert found.per_row == (np.float32(scores) > np.float32(threshold)).mean()


def test_known_entries_do_not_count_in_the_search() -> None:
    assert searched(np.float32([[0.9, np.nan], [0.1, 0.2]]), 0.5, 0.8).per_row == 0.5


def test_the_thresholds_of_positives_by_hand() -> None:
    scores = np.float32([[0.95, 0.3], [0.9, 0.3], [0.6, 0.3], [0.75, 0.3], [0.1, 0.3]])
    labels = np.array([[1, 0], [1, 0], [1, -1], [1, 0.7], [0, 0]])
    for statistic, expected in (("mean", 0.8), ("quantile:0.5", 0.825), ("certain", 0.8399600)):
        np.testing.assert_allclose(of_positives(scores, labels, 0.7, statistic), [expected, 0.7], rtol=1e-6)
    assert binary_entropy(np.array([0.95, 0.9, 0.6, 0.75])).mean() == pytest.approx(0.4397363, abs=1e-7)
    assert (upper_root(0.0), upper_root(1.0)) == (1.0, 0.5)


def test_kbks_two_tests_are_one_threshold() -> None:
    """Above the mean and no more uncertain than the mean entropy, on the same positives: above one root."""
    rng = np.random.default_rng(3)
    q = np.linspace(0.001, 0.999, 499)
    for _ in range(300):
        p = rng.beta(*rng.uniform(0.3, 6, 2), size=rng.integers(1, 20))
        entropy = float(binary_entropy(p).mean())
        both = (q > p.mean()) & (binary_entropy(q) <= entropy)
        np.testing.assert_array_equal(both, q > upper_root(entropy))
