from __future__ import annotations

import math
import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support
from sklearn.metrics import hamming_loss as sklearn_hamming_loss
from torchmetrics.functional.classification import (
    multilabel_f1_score,
    multilabel_precision,
    multilabel_recall,
    multilabel_specificity,
    multilabel_stat_scores,
)

from clsim.evaluation.metrics import average_precision, sort_classes
from clsim.evaluation.thresholds import (
    Confusion,
    cf1,
    cf1_harmonic,
    confusion,
    confusion_above,
    false_negative_rate,
    false_positive_rate,
    hamming_loss,
    of1,
    predicted_positive_rate,
    share_cutoffs,
)


def random_case(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
    """Logits float64 [N, C], targets int8 [N, C] with unknown entries in half of the cases, a threshold."""
    n, c = rng.integers(1, 40), rng.integers(2, 7)
    targets = (rng.random((n, c)) < rng.random(c)).astype(np.int8)
    logits = rng.normal(size=(n, c)) + rng.normal(size=c) + targets
    targets[rng.random((n, c)) < 0.3 * rng.integers(0, 2)] = -1
    return logits, targets, float(rng.choice([0.2, 0.5, 0.525, 0.8]))


def cases(seed: int, count: int = 40) -> list[tuple[np.ndarray, np.ndarray, float]]:
    rng = np.random.default_rng(seed)
    return [random_case(rng) for _ in range(count)]


@pytest.mark.parametrize("seed", range(10))
def test_every_metric_equals_scikit_learn(seed: int) -> None:
    """10 seeds x 40 tables: each class on its known entries, pooled metrics on all known entries."""
    for logits, targets, threshold in cases(seed):
        predicted = 1 / (1 + np.exp(-logits)) > threshold
        precisions, recalls, f1s = [], [], []
        for truth, guess in zip(targets.T, predicted.T, strict=True):
            if (truth == 1).any():
                known = truth >= 0
                values = precision_recall_fscore_support(truth[known], guess[known], average="binary", zero_division=0)
                for into, value in zip((precisions, recalls, f1s), values, strict=False):
                    into.append(value)
        known = targets >= 0
        counts = confusion(logits, targets, threshold)
        assert cf1(counts) == pytest.approx(np.mean(f1s) if f1s else math.nan, abs=1e-12, nan_ok=True)
        if f1s:
            p, r = np.mean(precisions), np.mean(recalls)
            assert cf1_harmonic(counts) == pytest.approx(2 * p * r / (p + r) if p + r else 0, abs=1e-12)
        if known.any():
            assert of1(counts) == pytest.approx(f1_score(targets[known], predicted[known], zero_division=0), abs=1e-12)
            tn, fp, fn, tp = confusion_matrix(targets[known], predicted[known], labels=[0, 1]).ravel()
            if fp + tn:
                assert false_positive_rate(counts) == pytest.approx(fp / (fp + tn), abs=1e-12)
            if fn + tp:
                assert false_negative_rate(counts) == pytest.approx(fn / (fn + tp), abs=1e-12)
            assert predicted_positive_rate(counts) == pytest.approx(predicted[known].mean(), abs=1e-12)
            wrong = sklearn_hamming_loss(targets[known], predicted[known])
            assert hamming_loss(counts) == pytest.approx(wrong, abs=1e-12)
        if known.all():
            assert hamming_loss(counts) == pytest.approx(sklearn_hamming_loss(targets, predicted), abs=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_every_metric_equals_torchmetrics(seed: int) -> None:
    for logits, targets, threshold in cases(100 + seed):
        counts = confusion(logits, targets, threshold)
        given = (torch.from_numpy(logits).sigmoid(), torch.from_numpy(targets).long())
        setting = {"num_labels": logits.shape[1], "threshold": threshold, "ignore_index": -1}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stats = multilabel_stat_scores(*given, average="none", **setting).numpy()
            f1, precision, recall = (
                metric(*given, average="none", **setting).numpy()
                for metric in (multilabel_f1_score, multilabel_precision, multilabel_recall)
            )
            overall = float(multilabel_f1_score(*given, average="micro", **setting))
            specificity = float(multilabel_specificity(*given, average="micro", **setting))
        np.testing.assert_array_equal(np.stack([counts.tp, counts.fp, counts.tn, counts.fn], axis=1), stats[:, :4])
        some = (targets == 1).any(axis=0)
        if some.any():
            assert cf1(counts) == pytest.approx(f1[some].mean(), abs=1e-6)
            p, r = precision[some].mean(), recall[some].mean()
            assert cf1_harmonic(counts) == pytest.approx(2 * p * r / (p + r) if p + r else 0, abs=1e-6)
        assert of1(counts) == pytest.approx(overall, abs=1e-6)
        if (targets == 0).any():
            assert false_positive_rate(counts) == pytest.approx(1 - specificity, abs=1e-6)


# Predictions at 0.5, by class: a right, right, wrong (P 2/3, R 1); b never predicted (P 0, R 0); c without a positive.
LOGITS = np.array([[1.0, -1.0, 1.0], [2.0, -1.0, -3.0], [3.0, -2.0, -1.0], [-1.0, -2.0, 5.0]])
TARGETS = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 1, -1]])


def test_metrics_by_hand() -> None:
    counts = confusion(LOGITS, TARGETS, 0.5)
    assert counts.tp.tolist() == [2, 0, 0]
    assert counts.fp.tolist() == [1, 0, 1]
    assert counts.fn.tolist() == [0, 2, 0]
    assert counts.tn.tolist() == [1, 2, 2]  # the unknown entry of c is nowhere
    assert cf1(counts) == pytest.approx((0.8 + 0) / 2)
    assert cf1_harmonic(counts) == pytest.approx(2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2))
    assert of1(counts) == pytest.approx(2 * 2 / (2 * 2 + 2 + 2))
    assert false_positive_rate(counts) == pytest.approx(2 / 7)
    assert false_negative_rate(counts) == pytest.approx(2 / 4)
    assert predicted_positive_rate(counts) == pytest.approx(4 / 11)
    assert hamming_loss(counts) == pytest.approx(4 / 11)


def test_the_two_definitions_differ_and_the_harmonic_one_is_never_lower() -> None:
    pairs = []
    for logits, targets, threshold in cases(7, 200):
        counts = confusion(logits, targets, threshold)
        if (targets == 1).any():
            pairs.append((cf1(counts), cf1_harmonic(counts)))
    assert all(harmonic >= mean - 1e-12 for mean, harmonic in pairs)
    assert sum(harmonic > mean + 0.01 for mean, harmonic in pairs) > 50


def test_a_higher_threshold_never_adds_false_positives_nor_removes_false_negatives() -> None:
    for logits, targets, _ in cases(8):
        tables = [confusion(logits, targets, threshold) for threshold in np.linspace(0.05, 0.95, 19)]
        for lower, higher in pairwise(tables):
            assert (higher.fp <= lower.fp).all()
            assert (higher.fn >= lower.fn).all()
            assert predicted_positive_rate(higher) <= predicted_positive_rate(lower) or not (targets >= 0).any()


def test_unknown_entries_and_their_scores_do_not_count() -> None:
    for logits, targets, threshold in cases(9):
        other = np.where(targets < 0, 100.0, logits)
        before, after = (confusion(scores, targets, threshold) for scores in (logits, other))
        assert all((getattr(before, name) == getattr(after, name)).all() for name in ("tp", "fp", "fn", "tn"))
        total = before.tp + before.fp + before.fn + before.tn
        np.testing.assert_array_equal(total, (targets >= 0).sum(axis=0))


def test_logits_and_probabilities_agree() -> None:
    for logits, targets, threshold in cases(10):
        probabilities = 1 / (1 + np.exp(-logits))
        from_logits = confusion(logits, targets, threshold)
        from_probabilities = confusion(probabilities, targets, threshold, "probabilities")
        assert (from_logits.tp == from_probabilities.tp).all()
        assert (from_logits.fp == from_probabilities.fp).all()


def test_a_score_at_the_threshold_is_not_predicted() -> None:
    assert confusion([[0.0]], [[1]], 0.5).tp == [0]
    assert confusion([[np.nextafter(0.0, 1)]], [[1]], 0.5).tp == [1]
    assert confusion([[0.8]], [[1]], 0.8, "probabilities").tp == [0]


def test_float32_scores_meet_the_threshold_in_float64() -> None:
    """0.1 is rounded up in float32; compared there with 0.1 it would be equal."""
    scores = np.array([[0.1]], dtype=np.float32)
    assert float(scores[0, 0]) > 0.1
    assert confusion(scores, [[1]], 0.1, "probabilities").tp == [1]
    above = np.float32(math.log(0.8 / 0.2))  # the float32 logit of 0.8 lies above it in float64
    assert float(above) > math.log(0.8 / 0.2)
    assert confusion(np.array([[above]]), [[1]], 0.8).tp == [1]


def test_saturated_logits_are_decided() -> None:
    assert confusion([[np.inf], [-np.inf], [800.0], [-800.0]], [[1], [1], [0], [0]], 0.5).tp == [1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_tensors_are_taken(dtype: torch.dtype) -> None:
    scores = torch.tensor([[3.0], [-2.0]], dtype=dtype, requires_grad=True)
    assert of1(confusion(scores, torch.tensor([[1.0], [1.0]]), 0.5)) == pytest.approx(2 / 3)


def table(tp: list[int], fp: list[int], fn: list[int], tn: list[int]) -> Confusion:
    return Confusion(*(np.array(counts) for counts in (tp, fp, fn, tn)))


def test_what_is_undefined_is_nan_and_f1_of_nothing_is_zero() -> None:
    nothing_present = table([0], [0], [0], [3])
    assert math.isnan(cf1(nothing_present))
    assert math.isnan(cf1_harmonic(nothing_present))
    assert math.isnan(false_negative_rate(nothing_present))
    assert (of1(nothing_present), false_positive_rate(nothing_present)) == (0, 0)
    never_right = table([0], [0], [2], [0])
    assert (cf1(never_right), cf1_harmonic(never_right), of1(never_right)) == (0, 0, 0)
    assert math.isnan(false_positive_rate(never_right))
    assert math.isnan(predicted_positive_rate(table([0], [0], [0], [0])))
    assert math.isnan(hamming_loss(table([0], [0], [0], [0])))


def test_a_class_without_a_positive_counts_in_pooled_metrics_only() -> None:
    with_empty, without = table([2, 0], [1, 9], [0, 0], [1, 1]), table([2], [1], [0], [1])
    assert cf1(with_empty) == cf1(without)
    assert cf1_harmonic(with_empty) == cf1_harmonic(without)
    assert of1(with_empty) < of1(without)


@pytest.mark.parametrize(
    ("scores", "threshold", "scale", "message"),
    [
        ([[1.0]], 0.0, "logits", "threshold 0.0 must lie between 0 and 1"),
        ([[1.0]], 1.0, "logits", "threshold 1.0"),
        ([[1.5]], 0.5, "probabilities", r"within 0\.\.1"),
        ([[-0.5]], 0.5, "probabilities", r"within 0\.\.1"),
        ([[float("nan")]], 0.5, "logits", "NaN"),
        ([[1.0, 2.0]], 0.5, "logits", r"must both be \[N, C\]"),
    ],
)
def test_bad_input_is_refused(scores: object, threshold: float, scale: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        confusion(scores, [[1]], threshold, scale)


# --- a threshold for each class


def test_a_share_of_each_class_is_predicted_and_no_rank_moves() -> None:
    """The cutoffs depend on scores only: the truth may be anything that is known in the same places."""
    rng = np.random.default_rng(11)
    for logits, targets, _ in cases(11):
        shares = rng.random(targets.shape[1])
        classes = sort_classes(logits, targets)
        cutoffs = share_cutoffs(classes, shares)
        predicted = (logits > cutoffs) & (targets >= 0)
        np.testing.assert_array_equal(predicted.sum(axis=0), np.rint(shares * (targets >= 0).sum(axis=0)))
        counts = confusion_above(classes, cutoffs)
        np.testing.assert_array_equal(counts.tp + counts.fp, predicted.sum(axis=0))
        np.testing.assert_array_equal(counts.tp, (predicted & (targets == 1)).sum(axis=0))
        other = np.where(targets >= 0, 1 - targets, -1)
        np.testing.assert_array_equal(share_cutoffs(sort_classes(logits, other), shares), cutoffs)
        shifted = logits - np.where(np.isfinite(cutoffs), cutoffs, 0)
        np.testing.assert_allclose(average_precision(shifted, targets), average_precision(logits, targets))


def test_at_the_border_of_a_share_ties_are_not_predicted() -> None:
    classes = sort_classes([[2.0], [1.0], [1.0], [0.0]], [[1], [1], [0], [0]])
    for share, above in [(0.0, 0), (0.25, 1), (0.5, 1), (0.75, 3), (1.0, 4)]:
        counts = confusion_above(classes, share_cutoffs(classes, np.array([share])))
        assert int((counts.tp + counts.fp)[0]) == above
    nothing = sort_classes(np.zeros((0, 1)), np.zeros((0, 1)))
    assert confusion_above(nothing, share_cutoffs(nothing, np.array([0.5]))).tp == [0]
