"""The correction of BiC: its fit, and that it changes no order of images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clsim.training.memory.bias_correction import BiasCorrection, corrected, row_weights
from clsim.training.memory.replay import Replay


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_without_a_penalty_the_shift_is_the_log_odds_of_the_base_rate(rate: float) -> None:
    targets = np.array([[rate]])  # a soft label stands for many rows
    scale, shift = corrected(np.zeros((1, 1)), targets, ridge=0.0)
    assert (scale, shift) == (1.0, pytest.approx(np.log(rate / (1 - rate))))


def test_the_fit_is_a_minimum_that_unknown_entries_do_not_move() -> None:
    rng = np.random.default_rng(0)
    logits, targets = 3 * rng.normal(size=(40, 3)), rng.integers(0, 2, (40, 3)).astype(np.float64)
    targets[::3, 1] = -1
    found = corrected(logits, targets, 0.1)
    other = logits.copy()
    other[::3, 1] += 7
    assert corrected(other, targets, 0.1) == found

    def objective(scale: float, shift: float) -> float:
        z, known = scale * logits + shift, targets >= 0
        weights = np.where(known, row_weights(targets)[:, None], 0)
        loss = np.logaddexp(0, z) - targets * z
        return float((weights * loss).sum() / weights.sum() + 0.1 * ((scale - 1) ** 2 + shift**2))

    for step in ((1e-3, 0), (-1e-3, 0), (0, 1e-3), (0, -1e-3)):
        assert objective(found[0] + step[0], found[1] + step[1]) > objective(*found)


def test_rows_that_can_be_separated_have_a_finite_fit_and_no_rows_none() -> None:
    scale, shift = corrected(np.array([[1.0], [-1.0]]), np.array([[1.0], [0.0]]), 0.1)
    assert 1 < scale < 3
    assert shift == pytest.approx(0, abs=1e-9)
    assert corrected(np.zeros((2, 1)), -np.ones((2, 1)), 0.1) == (1.0, 0.0)
    assert corrected(np.array([[1.0], [-1.0]]), np.array([[0.0], [1.0]]), 0.0)[0] > 0, "never turned round"


def test_each_class_weighs_the_same() -> None:
    targets = np.array([[1, 0], [1, 0], [1, 1], [0, 0]])
    assert row_weights(targets).tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3 + 1, 1])


def test_the_newest_classes_are_corrected_and_no_order_changes(build: Any, learn: Any) -> None:
    off, on = (learn(build("er+bic", options={"ridge": ridge}), tasks=2) for ridge in (1e12, 0.1))
    rows = on.benchmark.train_stream[1].dataset.rows()
    before, after = (template.scored(template.model, template.store, rows) for template in (off, on))
    plugin = on.find_plugin(BiasCorrection)
    np.testing.assert_array_equal(after[:, :4], before[:, :4])
    np.testing.assert_allclose(after[:, 4:], plugin.scale * before[:, 4:] + plugin.shift, atol=1e-4)
    assert abs(plugin.scale - 1) + abs(plugin.shift) > 1e-3
    for column in range(8):
        assert np.array_equal(before[:, column].argsort(), after[:, column].argsort())


class Trained:
    """Rows that were trained on."""

    def __init__(self) -> None:
        self.rows: set[int] = set()

    def before_backward(self, strategy: Any, **kwargs: Any) -> None:
        self.rows |= set(strategy.rows.tolist())


def test_held_out_rows_are_never_trained_on_stored_or_not(build: Any, learn: Any) -> None:
    watch = Trained()
    roomy = {"memory.budget.per_class": 20}
    template = learn(build("er+bic", options={"share": 0.3}, overrides=roomy, last=[watch]))
    memory = template.find_plugin(Replay).memory
    assert 0.2 < memory.left_out.mean() < 0.4
    assert watch.rows.isdisjoint(memory.rows[memory.left_out].tolist())
    assert watch.rows >= set(memory.rows[~memory.left_out].tolist())
