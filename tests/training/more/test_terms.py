"""The formulas of MORE: exposure, class weights, the loss of the two paths, what is reported of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor

from clsim.training.more.terms import (
    class_weights,
    exposure,
    filled_labels,
    rank_correlation,
    rebalancing_loss,
    tail_to_head,
)

KINDS: list[Any] = ["exposure", "sample", "class", "uniform"]


def case(seed: int, single: bool = False) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits of both paths [7, 5], labels [7, 5] and weights [5]; unknown and soft labels unless single."""
    generator = torch.Generator().manual_seed(seed)
    full, general = (3 * torch.randn(7, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    weights = 3 * torch.rand(5, generator=generator, dtype=torch.float64)
    if single:
        return full, general, torch.eye(5, dtype=torch.float64)[torch.randint(5, (7,), generator=generator)], weights
    q = torch.randint(-1, 2, (7, 5), generator=generator).double()
    soft = torch.rand(7, 5, generator=generator, dtype=torch.float64)
    return full, general, torch.where(soft < 0.3, torch.rand(7, 5, generator=generator).double(), q), weights


# --- the prior


def test_exposure_mixes_shares_of_new_and_replayed_rows() -> None:
    new, replayed, told = np.array([0.0, 30.0]), np.array([5.0, 0.5]), np.array([10.0, 0.0])
    np.testing.assert_allclose(exposure(new, 100, replayed, 10, 0.25), [0.125, 0.225 + 0.0125])
    np.testing.assert_allclose(exposure(new, 100, replayed, 10, 0.25, told), [0.125 + 0.075, 0.2375])
    np.testing.assert_allclose(exposure(new, 100, np.zeros(2), 0, 0.0), [0, 0.3])


def test_weights_are_counts_over_their_mean_and_clipped() -> None:
    counts = np.array([90.0, 9.0, 1.0, 0.0])
    np.testing.assert_allclose(class_weights(counts / 100, counts, 0.0, (0, 99)), counts / 25)
    np.testing.assert_allclose(class_weights(counts / 100, counts, 0.0, (0.02, 2)), [2, 0.36, 0.04, 0.02])
    np.testing.assert_allclose(class_weights(np.full(4, 0.1), counts, 1.0, (0, 99)), counts / 25)
    half = class_weights(np.full(4, 0.1), counts, 0.5, (0, 99))
    np.testing.assert_allclose(half, np.sqrt(counts) / np.sqrt(counts).mean())
    assert (class_weights(np.zeros(3), np.zeros(3), 0.0, (0.02, 10)) == 1).all()


# --- the loss


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(5))
def test_the_loss_is_its_formula(seed: int, kind: Any) -> None:
    full, general, q, w = case(seed)
    expected = 0.0
    for i in range(7):
        own = [float(w[c]) for c in range(5) if q[i, c] > 0.5]
        of_image = sum(own) / len(own) if own else 1.0
        for c in range(5):
            label, weight = float(q[i, c]), float(w[c])
            omega = {"exposure": label * weight + (1 - label) * of_image, "sample": of_image, "class": weight}
            if label >= 0:
                expected += omega.get(kind, 1.0) * float(full[i, c] - general[i, c]) ** 2 / 7
    assert float(rebalancing_loss(full, general, q, w, kind)) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["exposure", "sample"])
def test_with_one_label_an_image_it_is_the_published_formula(kind: Any) -> None:
    full, general, q, _ = case(3, single=True)
    counts = np.array([90.0, 40.0, 30.0, 8.0, 2.0])
    prior, amplitude = counts / counts.sum(), 0.7
    alpha = amplitude * len(counts)  # A' = A / C
    of_row = torch.from_numpy(prior)[q.argmax(dim=1)]
    published = alpha * (of_row * (full - general).square().sum(dim=1)).mean()
    weights = torch.from_numpy(class_weights(counts / 170, counts, 0.0, (0, math.inf)))
    torch.testing.assert_close(amplitude * rebalancing_loss(full, general, q, weights, kind), published)


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_entries_carry_no_gradient_even_at_infinity(kind: Any) -> None:
    full, general, q, w = case(4)
    q[0, 0] = -1
    full[0, 0] = math.inf
    full.requires_grad_()
    general.requires_grad_()
    rebalancing_loss(full, general, q, w, kind).backward()
    for path in (full, general):
        assert path.grad is not None
        assert (path.grad[q < 0] == 0).all()
        assert (path.grad[q >= 0] != 0).all()


def test_an_image_without_positives_and_an_empty_batch_are_no_trouble() -> None:
    full, general, _, w = case(5)
    absent = rebalancing_loss(full, general, torch.zeros(7, 5).double(), w)
    torch.testing.assert_close(absent, rebalancing_loss(full, general, torch.zeros(7, 5).double(), w, "uniform"))
    assert float(rebalancing_loss(full[:0], general[:0], full[:0], w)) == 0


def test_gradients_agree_with_finite_differences() -> None:
    full, general, q, w = case(6)
    full.requires_grad_()
    general.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: rebalancing_loss(a, b, q, w), (full, general))


def test_labels_are_those_given_then_the_teachers_then_none() -> None:
    targets = torch.tensor([[1.0, -1, -1, 0, -1], [-1, 0.3, -1, -1, 1]])
    where = torch.tensor([[False, True], [False, False]])
    q = filled_labels(targets, 4, torch.tensor([[5.0, 0.0], [5.0, 5.0]]), where)
    assert torch.equal(q, torch.tensor([[1, 0.5, -1, 0], [-1, 0.3, -1, -1]]))
    assert torch.equal(filled_labels(targets, 4, None, None), targets[:, :4])
    assert (targets[:, 1] == torch.tensor([-1, 0.3])).all(), "the batch itself should stay as it was"


# --- what is reported


def test_rank_correlation_agrees_with_scipy() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        a, b = generator.integers(0, 5, (2, 9)).astype(float)
        assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert math.isnan(rank_correlation(np.ones(4), np.arange(4.0)))


def test_tail_to_head_compares_the_outer_thirds_by_weight() -> None:
    discrepancy, weights = np.array([1.0, 8, 2, 9, 6, 4]), np.array([3.0, 0.1, 2, 0.2, 1, 0.5])
    assert tail_to_head(discrepancy, weights) == pytest.approx((8 + 9) / (1 + 2))
    assert tail_to_head(discrepancy[:2], weights[:2]) == 8
    assert math.isnan(tail_to_head(discrepancy[:1], weights[:1]))
    assert math.isnan(tail_to_head(np.array([0.0, 1]), np.array([2.0, 1])))
