from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve
from torchmetrics.functional.classification import binary_calibration_error

from clsim.evaluation.calibration import (
    BINS,
    Reliability,
    class_calibration_error,
    expected_calibration_error,
    reliability,
)


def random_case(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Logits float64 [N, C] that are over- or underconfident, targets with unknown entries in half of the cases."""
    n, c = rng.integers(1, 60), rng.integers(1, 7)
    logits = 3 * rng.normal(size=(n, c)) + rng.normal(size=c)
    targets = (rng.random((n, c)) < 1 / (1 + np.exp(-logits * rng.uniform(0.2, 2)))).astype(np.int8)
    targets[rng.random((n, c)) < 0.3 * rng.integers(0, 2)] = -1
    return logits, targets


def torchmetrics_error(logits: np.ndarray, truth: np.ndarray, bins: int) -> float:
    given = torch.from_numpy(logits).sigmoid(), torch.from_numpy(truth.astype(np.int64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(binary_calibration_error(*given, n_bins=bins, norm="l1"))


@pytest.mark.parametrize("bins", [1, 10, BINS])
def test_ece_equals_torchmetrics(bins: int) -> None:
    rng = np.random.default_rng(bins)
    for _ in range(40):
        logits, targets = random_case(rng)
        table, known = reliability(logits, targets, bins), targets >= 0
        if known.any():
            expected = torchmetrics_error(logits[known], targets[known], bins)
            assert expected_calibration_error(table) == pytest.approx(expected, abs=1e-6)
        each = [
            torchmetrics_error(own[truth >= 0], truth[truth >= 0], bins)
            for own, truth in zip(logits.T, targets.T, strict=True)
            if (truth == 1).any()
        ]
        expected = np.mean(each) if each else math.nan
        assert class_calibration_error(table) == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_the_diagram_equals_scikit_learn() -> None:
    logits, targets = random_case(np.random.default_rng(3))
    known = targets >= 0
    probabilities = 1 / (1 + np.exp(-logits[known]))
    present, predicted = calibration_curve(targets[known], probabilities, n_bins=BINS)
    table = reliability(logits, targets).pooled()
    some = table.entries[0] > 0
    np.testing.assert_allclose((table.present / np.maximum(table.entries, 1))[0, some], present)
    np.testing.assert_allclose((table.predicted / np.maximum(table.entries, 1))[0, some], predicted)


def test_errors_by_hand() -> None:
    """Two bins. Class a: p 0.2, absent, and p 0.6, present; class b: p 0.6, absent; class c without a positive."""
    logits = np.log([[0.2 / 0.8, 1.5, 4.0], [1.5, 1.5, 4.0]])
    targets = [[0, 0, 0], [1, 1, -1]]
    table = reliability(logits, targets, bins=2)
    assert table.entries.tolist() == [[1, 1], [0, 2], [0, 1]]
    assert table.present.tolist() == [[0, 1], [0, 1], [0, 0]]
    np.testing.assert_allclose(table.predicted, [[0.2, 0.6], [0, 1.2], [0, 0.8]])
    assert expected_calibration_error(table) == pytest.approx((0.2 + abs(0.6 + 1.2 + 0.8 - 2)) / 5)
    assert class_calibration_error(table) == pytest.approx(((0.2 + 0.4) / 2 + 0.2 / 2) / 2)


def test_a_border_belongs_to_the_bin_above_it_and_the_ends_to_the_outer_bins() -> None:
    table = reliability([[0.0], [np.nextafter(0.0, -1)], [800.0], [-800.0], [np.inf], [-np.inf]], [[1]] * 6, bins=2)
    assert table.entries.tolist() == [[3, 3]]
    np.testing.assert_allclose(table.predicted, [[0.5, 2.5]])


def test_what_is_undefined_is_nan() -> None:
    nothing, absent = reliability(np.zeros((0, 2)), np.zeros((0, 2))), reliability([[0.0]], [[0]])
    assert math.isnan(expected_calibration_error(nothing))
    assert math.isnan(class_calibration_error(nothing))
    assert expected_calibration_error(absent) == 0.5
    assert math.isnan(class_calibration_error(absent))
    with pytest.raises(ValueError, match="bins 0 must be at least 1"):
        reliability([[0.0]], [[0]], bins=0)


def test_the_pooled_table_survives_as_plain_values() -> None:
    table = reliability(*random_case(np.random.default_rng(4)))
    again = Reliability.of(table.bins())
    assert expected_calibration_error(again) == expected_calibration_error(table)
    np.testing.assert_array_equal(again.entries, table.pooled().entries)
