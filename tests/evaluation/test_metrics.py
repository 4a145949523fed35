from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score, roc_auc_score
from torchmetrics.functional.classification import multilabel_average_precision

from clsim.evaluation import average_precision
from clsim.evaluation.metrics import (
    _POSITIVES_AT_ONCE,
    backward_transfer,
    finite_mean,
    forgetting,
    label_ranking_average_precision,
    mean_ap,
    roc_auc,
    top1_accuracy,
)


def oracle(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    values = []
    for column in range(scores.shape[1]):
        known = targets[:, column] >= 0
        truth = targets[known, column]
        values.append(average_precision_score(truth, scores[known, column]) if truth.any() else np.nan)
    return np.array(values)


@pytest.mark.parametrize("seed", range(40))
def test_average_precision_equals_scikit_learn(seed: int) -> None:
    """40 seeds x 50 tables = 2,000 random cases: sizes, ties, dtypes, unknown entries, empty and full classes."""
    rng = np.random.default_rng(seed)
    for _ in range(50):
        n, c = rng.integers(1, 60), rng.integers(1, 6)
        scores = rng.normal(size=(n, c)).astype(rng.choice([np.float32, np.float64]))
        if rng.random() < 0.5:
            scores = np.round(scores, 1)  # many ties
        targets = (rng.random((n, c)) < rng.random(c)).astype(np.int8)
        targets[rng.random((n, c)) < 0.2 * rng.integers(0, 2)] = -1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = oracle(scores, targets)
        np.testing.assert_allclose(average_precision(scores, targets), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("seed", range(10))
def test_average_precision_equals_torchmetrics(seed: int) -> None:
    """On probabilities, because torchmetrics takes scores for logits only where one lies outside 0..1."""
    rng = np.random.default_rng(seed)
    for _ in range(20):
        n, c = (int(size) for size in rng.integers((1, 2), (60, 6)))
        scores = rng.random((n, c)).round(int(rng.choice([1, 15])))
        targets = (rng.random((n, c)) < rng.random(c)).astype(np.int64)
        targets[rng.random((n, c)) < 0.2 * rng.integers(0, 2)] = -1
        targets[0] = abs(targets[0])  # torchmetrics fails on a class without any known entry
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = multilabel_average_precision(
                torch.from_numpy(scores), torch.from_numpy(targets), num_labels=c, average="none", ignore_index=-1
            ).numpy()
        ours, some = average_precision(scores, targets), (targets == 1).any(axis=0)  # an empty class is 0 there
        np.testing.assert_allclose(ours[some], expected[some], atol=2e-6)
        assert np.isnan(ours[~some]).all()


def test_equal_scores_are_one_threshold() -> None:
    targets = [[1], [0], [0], [0]]
    assert average_precision([[0.5]] * 4, targets) == pytest.approx([0.25])
    assert average_precision([[0.5]] * 4, targets[::-1]) == pytest.approx([0.25])


def test_infinite_scores_are_ordered() -> None:
    assert average_precision([[np.inf], [0.0], [-np.inf]], [[0], [1], [0]]) == pytest.approx([0.5])


def test_empty_class_is_nan() -> None:
    result = average_precision([[0.1, 0.2], [0.3, 0.4]], [[0, 1], [-1, 0]])
    assert np.isnan(result[0])
    assert result[1] == 0.5


def test_unknown_entries_are_ignored() -> None:
    scores, targets = [[0.9], [0.8], [0.7]], [[-1], [1], [0]]
    assert average_precision(scores, targets) == [1.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_tensors_of_every_float_type_are_taken(dtype: torch.dtype) -> None:
    scores = torch.tensor([[3.0], [2.0], [1.0]], dtype=dtype, requires_grad=True)
    assert average_precision(scores, torch.tensor([[0.0], [1.0], [1.0]])) == pytest.approx([7 / 12])


@pytest.mark.parametrize(
    ("scores", "targets", "message"),
    [
        ([[1.0]], [[1, 0]], r"\(1, 1\) and targets \(1, 2\)"),
        ([1.0], [1], r"must both be \[N, C\]"),
        ([[float("nan")]], [[1]], "NaN"),
        ([[0.1]], [[2]], "1, 0 or -1"),
        ([[0.1]], [[0.5]], "1, 0 or -1"),
        ([[0.1]], [[-2]], "1, 0 or -1"),
        ([[0.1]], [[257]], "1, 0 or -1"),  # 1 in eight bits
        ([[0.1]], [[float("nan")]], "1, 0 or -1"),
    ],
)
def test_bad_input_is_refused(scores: object, targets: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        average_precision(scores, targets)


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint8, np.float32, bool])
def test_targets_of_every_type_are_taken(dtype: type) -> None:
    assert average_precision([[0.9], [0.8]], np.array([[0], [1]], dtype=dtype)) == [0.5]


def test_no_rows_leave_every_class_undefined() -> None:
    assert np.isnan(average_precision(np.empty((0, 2)), np.empty((0, 2)))).tolist() == [True, True]


def test_mean_ap_skips_or_counts_empty_classes() -> None:
    assert mean_ap([0.5, np.nan, 1.0]) == 75
    assert mean_ap([0.5, np.nan, 1.0], "zero") == 50
    assert np.isnan(mean_ap([np.nan]))


def test_forgetting_is_best_before_the_last_minus_last() -> None:
    history = [[50, np.nan, np.nan], [80, 60, np.nan], [30, 70, 90]]
    np.testing.assert_array_equal(forgetting(history), [50, -10, np.nan])


def test_forgetting_passes_over_tasks_that_were_not_scored() -> None:
    np.testing.assert_array_equal(forgetting([[50.0], [np.nan], [20.0]]), [30])


def test_backward_transfer_compares_with_the_diagonal() -> None:
    nan = np.nan
    assert backward_transfer([[50, nan, nan], [80, 60, nan], [30, 70, 90]]) == pytest.approx((-20 + 10) / 2)
    assert np.isnan(backward_transfer([[50.0]]))


def test_finite_mean() -> None:
    assert finite_mean([1, np.nan, 3]) == 2
    assert np.isnan(finite_mean([]))


def test_top1_accuracy_counts_the_highest_score_and_ties_go_to_the_first() -> None:
    assert top1_accuracy([[0.1, 0.9], [0.5, 0.5], [0.5, 0.5], [2, 1]], [1, 0, 1, 1]) == 50
    assert np.isnan(top1_accuracy(np.empty((0, 3)), np.empty(0, dtype=int)))


@pytest.mark.parametrize(
    ("scores", "classes", "problem"),
    [
        ([[1.0, 2.0]], [2], r"classes must be in 0\.\.1"),
        ([[1.0, 2.0]], [-1], r"classes must be in 0\.\.1"),
        ([[1.0, float("nan")]], [0], "NaN"),
        ([[1.0, 2.0]], [0, 1], r"scores \(1, 2\) must be \[N, S\] and classes \(2,\)"),
    ],
)
def test_top1_accuracy_refuses_what_does_not_fit(scores: list, classes: list, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        top1_accuracy(scores, classes)


# --- area under the ROC curve, and ranking within an image


def random_table(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Scores [N, C], half of them with many ties, and targets of every prevalence, some unknown."""
    n, c = rng.integers(1, 60), rng.integers(2, 12)
    scores = rng.normal(size=(n, c)).astype(rng.choice([np.float32, np.float64])).round(int(rng.choice([1, 12])))
    targets = (rng.random((n, c)) < rng.random(c)).astype(np.int8)
    targets[rng.random((n, c)) < 0.2 * rng.integers(0, 2)] = -1
    return scores, targets


@pytest.mark.parametrize("seed", range(8))
def test_auc_and_lrap_equal_scikit_learn(seed: int) -> None:
    """8 seeds x 25 tables: AUC on the known entries of each class, LRAP on those of each image with a positive."""
    rng = np.random.default_rng(1000 + seed)
    for _ in range(25):
        scores, targets = random_table(rng)
        aucs, images = [], []
        for column in range(scores.shape[1]):
            known = targets[:, column] >= 0
            truth = targets[known, column]
            both = 0 < truth.sum() < len(truth)
            aucs.append(roc_auc_score(truth, scores[known, column]) if both else np.nan)
        for own, truth in zip(scores, targets, strict=True):
            if (truth == 1).any():
                known = truth >= 0
                # scipy 1.18 ranks float32 scores in float32
                exact = own[None, known].astype(np.float64)
                images.append(label_ranking_average_precision_score(truth[None, known], exact))
        np.testing.assert_allclose(roc_auc(scores, targets), aucs, rtol=1e-12, atol=0)
        expected = np.mean(images) if images else np.nan
        np.testing.assert_allclose(label_ranking_average_precision(scores, targets), expected, rtol=1e-12, atol=0)


def test_macro_auc_and_lrap_of_a_whole_table_equal_scikit_learn() -> None:
    """More positives than are compared at once; each image with a positive, each class with both."""
    rng = np.random.default_rng(5)
    scores = rng.normal(size=(900, 7)).round(1)
    targets = (rng.random(scores.shape) < 0.6).astype(np.int8)
    targets[~targets.any(axis=1), 0] = 1
    assert targets.sum() > _POSITIVES_AT_ONCE
    assert finite_mean(roc_auc(scores, targets)) == pytest.approx(roc_auc_score(targets, scores, average="macro"))
    expected = label_ranking_average_precision_score(targets, scores)
    assert label_ranking_average_precision(scores, targets) == pytest.approx(expected, rel=1e-12)


def test_auc_and_lrap_by_hand() -> None:
    """Class 0: of 2 x 2 pairs three are in order and one ties. Image 1: its one positive shares rank 2 of 3."""
    assert roc_auc([[0.9], [0.8], [0.1], [0.8]], [[1], [0], [0], [1]]) == [3.5 / 4]
    assert (
        label_ranking_average_precision([[3, 2, 1], [3, 1, 1]], [[1, 0, 1], [0, 1, -1]])
        == (((1 + 2 / 3) / 2) + 1 / 2) / 2
    )


def test_what_has_no_positive_or_no_negative_is_left_out() -> None:
    targets = [[0, 1, -1, 1], [0, 1, -1, 0]]
    np.testing.assert_array_equal(roc_auc(np.zeros((2, 4)), targets), [np.nan, np.nan, np.nan, 0.5])
    assert label_ranking_average_precision([[1.0, 2.0], [9.0, 0.0]], [[1, 0], [0, 0]]) == 0.5
    assert np.isnan(label_ranking_average_precision([[1.0, 2.0]], [[0, -1]]))
    assert np.isnan(label_ranking_average_precision(np.zeros((0, 3)), np.zeros((0, 3))))
    assert roc_auc(np.zeros((0, 2)), np.zeros((0, 2))).shape == (2,)


def test_infinite_scores_are_ordered_in_auc_and_lrap() -> None:
    assert roc_auc([[np.inf], [0.0], [-np.inf]], [[0], [1], [0]]) == [0.5]
    assert label_ranking_average_precision([[np.inf, -np.inf, 0.0]], [[0, 1, -1]]) == 0.5
