"""Losses that know class frequencies, against the papers' formulas entry by entry in float64."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from clsim.training.losses.binary import focal, masked_bce
from clsim.training.losses.class_counts import ClassCounts
from clsim.training.losses.class_frequencies import class_balanced, distribution_balanced, logit_adjusted, rldam

DB = {"alpha": 0.1, "beta": 10.0, "mu": 0.3, "kappa": 0.05, "lam": 5.0, "gamma": 2.0}
SETTINGS: list[tuple[Any, dict[str, Any]]] = [
    (distribution_balanced, DB),
    (distribution_balanced, DB | {"mu": 0.2, "lam": 2.0, "gamma": 0.0}),
    (distribution_balanced, DB | {"kappa": 1.0, "lam": 0.5}),
    (logit_adjusted, {"tau": 1.0}),
    (logit_adjusted, {"tau": 0.3}),
    *((class_balanced, {"beta": beta, "weigh": weigh}) for beta in (0.9, 0.9999) for weigh in ("classes", "images")),
]
every = pytest.mark.parametrize(("loss", "options"), SETTINGS, ids=lambda value: getattr(value, "__name__", str(value)))
shapes = st.tuples(st.integers(1, 7), st.integers(1, 6), st.integers(0, 3), st.integers(0, 10_000))


def draw(shape: tuple[int, int, int, int]) -> tuple[Tensor, Tensor, ClassCounts]:
    """Logits float32 [B, S]; targets float32 [B, C] with every kind of entry; counts with 0 < n < N."""
    rows, seen, future, seed = shape
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(4, (rows, seen + future), generator=generator)
    soft = torch.rand(rows, seen + future, generator=generator)
    targets = torch.where(kind == 3, soft, kind.float() - 1)
    positives = torch.randint(1, 900, (seen + future,), generator=generator).double()
    absent = torch.randint(1, 900, (seen + future,), generator=generator).double()
    return 4 * torch.randn(rows, seen, generator=generator), targets, ClassCounts(positives, positives + absent)


def reference(loss: Any, o: dict[str, Any], logits: Tensor, targets: Tensor, counts: ClassCounts) -> Tensor:
    """The formulas of the papers, with plain loops."""
    rows, seen = logits.shape
    n, known = counts.positives.tolist(), counts.known.tolist()
    total = torch.zeros((), dtype=torch.float64)
    for row in range(rows):
        y = [float(targets[row, c]) for c in range(seen)]
        shown = [c for c in range(seen) if y[c] > 0]
        for c in range(seen):
            if y[c] < 0:
                continue
            z = logits[row, c].double()
            if loss is distribution_balanced:
                repeats = sum(y[j] / n[j] for j in shown)
                r = (1 / n[c]) / repeats if shown else 1.0
                weight = o["alpha"] + 1 / (1 + math.exp(-o["beta"] * (r - o["mu"])))
                v = z - o["kappa"] / o["lam"] * math.log(known[c] / n[c] - 1)
                p, q = torch.sigmoid(v), torch.sigmoid(o["lam"] * v)
                term = y[c] * (1 - p) ** o["gamma"] * torch.log(p)
                term = term + (1 - y[c]) / o["lam"] * q ** o["gamma"] * torch.log(torch.sigmoid(-o["lam"] * v))
            else:
                weight = 1.0
                if loss is logit_adjusted:
                    prior = n[c] / known[c]
                    z = z + o["tau"] * (math.log(prior) - math.log(1 - prior))
                else:
                    effective = [(1 - o["beta"] ** n[j]) / (1 - o["beta"]) for j in range(seen)]
                    w = [seen / e / sum(1 / other for other in effective) for e in effective]
                    weight = w[c]
                    if o["weigh"] == "images":
                        weight = sum(y[j] * w[j] for j in shown) / sum(y[j] for j in shown) if shown else 1.0
                term = y[c] * torch.log(torch.sigmoid(z)) + (1 - y[c]) * torch.log(torch.sigmoid(-z))
            total = total - weight * term
    return total / rows


@every
@settings(max_examples=15, deadline=None)
@given(shapes)
def test_values_are_those_of_the_formula(loss: Any, options: Any, shape: tuple[int, int, int, int]) -> None:
    logits, targets, counts = draw(shape)
    expected = float(reference(loss, options, logits, targets, counts))
    assert float(loss(logits, targets, counts, **options)) == pytest.approx(expected, rel=5e-5, abs=5e-6)


@every
def test_gradients_are_those_of_the_formula(loss: Any, options: Any) -> None:
    logits, targets, counts = draw((6, 6, 2, 1))
    mine, theirs = logits.double().requires_grad_(), logits.double().requires_grad_()
    loss(mine, targets.double(), counts, **options).backward()
    reference(loss, options, theirs, targets.double(), counts).backward()
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-7, atol=1e-9)


def test_db_on_the_benchmark_is_the_authors_order_of_operations() -> None:
    """Weights, then regularised logits, then the focal factor, on hard labels that are all known."""
    generator = torch.Generator().manual_seed(3)
    z = 3 * torch.randn(8, 4, generator=generator, dtype=torch.float64)
    y = torch.randint(2, (8, 4), generator=generator).double()
    y[:, 0] = 1  # every image of the benchmark shows something
    n, rows, lam = torch.tensor([775.0, 100.0, 20.0, 4.0], dtype=torch.float64), 1142, 5.0
    rate = (1 / n) / (y * (1 / n)).sum(dim=1, keepdim=True)
    weight = torch.sigmoid(10 * (rate - 0.3)) + 0.1
    biased = z - torch.log(rows / n - 1) * 0.05 / lam
    scaled = torch.where(y == 1, biased, biased * lam)
    weight = torch.where(y == 1, weight, weight / lam)
    entries = -torch.log(torch.where(y == 1, torch.sigmoid(scaled), torch.sigmoid(-scaled)))
    expected = (weight * (1 - torch.exp(-entries)) ** 2 * entries).sum() / len(z)
    counts = ClassCounts(n, torch.full((4,), float(rows), dtype=torch.float64))
    assert float(distribution_balanced(z, y, counts)) == pytest.approx(float(expected), rel=1e-12)


def test_class_balanced_weighs_a_single_label_image_as_its_paper_does() -> None:
    logits, _, _ = draw((5, 3, 0, 2))
    label = torch.tensor([0, 1, 2, 2, 0])
    y = torch.nn.functional.one_hot(label, 3).float()
    n = torch.tensor([400.0, 40.0, 4.0], dtype=torch.float64)
    effective = (1 - 0.99**n) / (1 - 0.99)
    weight = 3 / effective / (1 / effective).sum()
    per_image = torch.nn.functional.binary_cross_entropy_with_logits(logits, y, reduction="none").sum(dim=1)
    expected = (weight[label] * per_image).sum() / 5
    counts = ClassCounts(n, torch.full((3,), 444.0))
    assert float(class_balanced(logits, y, counts, 0.99, "images")) == pytest.approx(float(expected), rel=1e-6)


# --- special cases


@settings(max_examples=30, deadline=None)
@given(shapes)
def test_without_their_parameter_they_are_binary_cross_entropy(shape: tuple[int, int, int, int]) -> None:
    logits, targets, counts = draw(shape)
    expected = pytest.approx(float(masked_bce(logits, targets)), rel=1e-5, abs=1e-6)
    assert float(logit_adjusted(logits, targets, counts, tau=0)) == expected
    assert float(class_balanced(logits, targets, counts, beta=0)) == expected
    assert float(class_balanced(logits, targets, counts, beta=0, weigh="images")) == expected


def test_db_without_rebalancing_and_regularisation_is_focal_loss() -> None:
    logits, targets, counts = draw((6, 5, 1, 4))
    flat = distribution_balanced(logits, targets, counts, alpha=0.5, beta=0, kappa=0, lam=1, gamma=2)
    assert float(flat) == pytest.approx(float(focal(logits, targets, 2.0)), rel=1e-5)


def test_rare_classes_gain_what_common_ones_lose() -> None:
    z, counts = torch.zeros(1, 2), ClassCounts(torch.tensor([900.0, 10.0]), torch.tensor([1000.0, 1000.0]))
    for loss in (distribution_balanced, logit_adjusted, class_balanced):
        pulls = []
        for column in range(2):
            logits = z.clone().requires_grad_()
            target = torch.full((1, 2), -1.0)
            target[0, column] = 1
            options = {"kappa": 1.0} if loss is distribution_balanced else {}
            loss(logits, target, counts, **options).backward()
            assert logits.grad is not None
            pulls.append(float(logits.grad[0, column].abs()))
        assert pulls[1] > pulls[0], loss


# --- numerical traps


@every
@pytest.mark.parametrize("value", [float("inf"), -float("inf"), 1e30, -1e30])
def test_an_unknown_entry_carries_no_gradient_even_through_an_infinite_logit(
    loss: Any, options: Any, value: float
) -> None:
    counts = ClassCounts(torch.tensor([30.0, 3.0]), torch.tensor([60.0, 60.0]))
    logits = torch.tensor([[0.5, value], [value, 0.25]], requires_grad=True)
    result = loss(logits, torch.tensor([[1.0, -1.0], [-1.0, 0.0]]), counts, **options)
    result.backward()
    assert torch.isfinite(result)
    assert logits.grad is not None
    assert logits.grad[0, 1] == logits.grad[1, 0] == 0
    assert (logits.grad.diagonal() != 0).all()


@every
@pytest.mark.parametrize("count", [(0.0, 0.0), (0.0, 50.0), (50.0, 50.0), (1e6, 2e6)])
@pytest.mark.parametrize("size", [0.0, 100.0, 1e4])
def test_extreme_counts_and_logits_give_finite_losses_and_gradients(
    loss: Any, options: Any, count: tuple[float, float], size: float
) -> None:
    counts = ClassCounts(torch.tensor([count[0], 5.0]), torch.tensor([count[1], 50.0]))
    for target in ([[1.0, 0.0]], [[0.0, 1.0]], [[0.0, 0.0]], [[1.0, 1.0]]):
        for sign in (1, -1):
            logits = torch.tensor([[sign * size, -sign * size]], requires_grad=True)
            result = loss(logits, torch.tensor(target), counts, **options)
            result.backward()
            assert torch.isfinite(result)
            assert logits.grad is not None
            assert torch.isfinite(logits.grad).all()


def test_rldam_by_hand_and_its_margin_is_of_rare_classes() -> None:
    """z+ = 2, z- = 0 and 16 positives: D = 0.3. Classes without both signs in the batch add nothing."""
    counts = ClassCounts(torch.tensor([16.0, 1.0, 5.0]), torch.tensor([50.0, 50.0, 50.0]))
    logits = torch.tensor([[2.0, 2.0, 1.0], [0.0, 0.0, 1.0], [7.0, 7.0, 1.0]], dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([[1, -1, 1], [0, -1, 1], [-1, -1, -1]], dtype=torch.float64)
    loss = rldam(logits, targets, counts)
    loss.backward()
    assert loss.item() == pytest.approx(1.022141, abs=1e-6)
    assert (logits.grad[:, 1:] == 0).all()
    assert (logits.grad[2] == 0).all()
    targets[:, 1] = targets[:, 0]
    both = rldam(logits, targets, counts)
    expected = math.log1p(math.exp(0.6 - 2)) + math.log1p(math.exp(0.6))
    assert both.item() == pytest.approx(1.022141 + expected, abs=1e-6)


def test_rldam_is_the_mean_over_pairs() -> None:
    logits, targets, counts = draw((7, 5, 2, 4))
    y, d = targets[:, :5].round(), 0.6 * counts.positives[:5] ** -0.25
    total = 0.0
    for c in range(5):
        pairs = [
            torch.nn.functional.softplus(d[c] - logits[i, c]) + torch.nn.functional.softplus(logits[j, c] + d[c])
            for i in range(7)
            for j in range(7)
            if y[i, c] == 1 and y[j, c] == 0
        ]
        total += float(torch.stack(pairs).mean()) if pairs else 0.0
    assert total > 0
    assert float(rldam(logits, targets.round(), counts)) == pytest.approx(total, rel=1e-5)
