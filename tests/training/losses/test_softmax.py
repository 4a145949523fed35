"""Softmax losses against float64 references; unknown classes are no candidates."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from clsim.training.losses.class_counts import ClassCounts
from clsim.training.losses.softmax import cross_entropy, logit_adjusted_cross_entropy

shapes = st.tuples(st.integers(1, 7), st.integers(1, 6), st.integers(0, 3), st.integers(0, 10_000))


def draw(shape: tuple[int, int, int, int]) -> tuple[Tensor, Tensor, ClassCounts]:
    """Logits [B, S]; rows of one class among C >= S, a third of the entries unknown; counts of C classes."""
    rows, seen, future, seed = shape
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(seen + future, (rows,), generator=generator)
    hidden = torch.rand(rows, seen + future, generator=generator) < 1 / 3
    targets = torch.where(hidden, -1.0, F.one_hot(label, seen + future).float())
    positives = torch.randint(1, 900, (seen + future,), generator=generator).double()
    return 4 * torch.randn(rows, seen, generator=generator), targets, ClassCounts(positives, positives + 1)


def reference(logits: Tensor, targets: Tensor, counts: ClassCounts, tau: float) -> Tensor:
    """The formula, row by row; tau 0 is the plain loss."""
    total = torch.zeros((), dtype=torch.float64)
    prior = counts.positives / counts.positives.sum()
    for z, y in zip(logits.double(), targets[:, : logits.shape[1]].tolist(), strict=True):
        known = [c for c, value in enumerate(y) if value >= 0]
        adjusted = {c: z[c] + tau * prior[c].log() for c in known}
        for c in known:
            if y[c] == 1:
                total = total - torch.log(adjusted[c].exp() / sum(value.exp() for value in adjusted.values()))
    return total / len(logits)


@pytest.mark.parametrize("tau", [0.0, 1.0, 0.4])
@settings(max_examples=30, deadline=None)
@given(shapes)
def test_values_and_gradients_are_those_of_the_formula(tau: float, shape: tuple[int, int, int, int]) -> None:
    logits, targets, counts = draw(shape)
    mine, theirs = logits.double().requires_grad_(), logits.double().requires_grad_()
    value = logit_adjusted_cross_entropy(mine, targets.double(), counts, tau) if tau else cross_entropy(mine, targets)
    expected = reference(theirs, targets, counts, tau)
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-9, check_dtype=False)
    if expected.requires_grad:
        value.backward()
        expected.backward()
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-5, atol=1e-9)


def test_with_everything_known_it_is_torchs() -> None:
    logits, _, _ = draw((9, 5, 0, 1))
    label = torch.arange(9) % 5
    expected = F.cross_entropy(logits, label)
    torch.testing.assert_close(cross_entropy(logits, F.one_hot(label, 5).float()), expected)


def test_several_positives_share_and_no_positive_adds_nothing() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    both = cross_entropy(logits[:1], torch.tensor([[1.0, 1.0, 0.0]]))
    log_p = logits[0].log_softmax(0)
    assert float(both) == pytest.approx(-float(log_p[0] + log_p[1]) / 2)
    assert float(cross_entropy(logits, torch.tensor([[0.0] * 3, [-1.0] * 3, [0.0, -1.0, 0.0]]))) == 0


@pytest.mark.parametrize("loss", [cross_entropy, logit_adjusted_cross_entropy])
@pytest.mark.parametrize("value", [float("inf"), -float("inf"), 1e30, -1e30])
def test_an_unknown_class_is_no_candidate_whatever_its_logit(loss: Any, value: float) -> None:
    more = (ClassCounts(torch.tensor([0.0, 9.0, 50.0]), torch.tensor([50.0] * 3)),) if loss != cross_entropy else ()
    logits = torch.tensor([[0.5, value, 1.0], [value, value, value]], requires_grad=True)
    result = loss(logits, torch.tensor([[1.0, -1.0, 0.0], [-1.0, -1.0, -1.0]]), *more)
    result.backward()
    assert torch.isfinite(result)
    assert logits.grad is not None
    assert (logits.grad[0, [0, 2]] != 0).all()
    assert logits.grad[0, 1] == 0
    assert not logits.grad[1].any()
