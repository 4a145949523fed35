"""Losses against a float64 reference: what is unknown carries no gradient, and one reduction holds everywhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from clsim.training.losses.binary import masked_bce, sigmoid_distillation

INF = float("inf")
HUGE = [INF, -INF, 1e30, -1e30]


def reference(logits: Tensor, targets: Tensor, known: Tensor) -> float:
    """-1/B sum over known entries of y log p + (1 - y) log(1 - p), in float64."""
    z, y = logits.double().numpy(), targets.double().numpy()
    log_p, log_not_p = -np.logaddexp(0, -z), -np.logaddexp(0, z)
    entries = -(y * log_p + (1 - y) * log_not_p)
    return float(entries[known.numpy()].sum() / len(z))


def draw_targets(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Present, absent, unknown and soft entries in about equal parts."""
    kind = torch.randint(4, (rows, columns), generator=generator)
    soft = torch.rand(rows, columns, generator=generator)
    return torch.where(kind == 3, soft, kind.float() - 1)


shapes = st.tuples(st.integers(1, 9), st.integers(0, 7), st.integers(0, 3), st.integers(0, 10_000))


@settings(max_examples=60, deadline=None)
@given(shapes)
def test_masked_bce_is_the_sum_over_known_entries_by_the_batch_size(shape: tuple[int, int, int, int]) -> None:
    rows, seen, future, seed = shape
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(rows, seen, generator=generator)
    targets = draw_targets(rows, seen + future, generator)
    own = targets[:, :seen]
    assert float(masked_bce(logits, targets)) == pytest.approx(reference(logits, own, own >= 0), rel=1e-5, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(shapes)
def test_distillation_is_the_cross_entropy_with_the_teachers_probability(shape: tuple[int, int, int, int]) -> None:
    rows, old, new, seed = shape
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(rows, old + new, generator=generator)
    teacher = 4 * torch.randn(rows, old, generator=generator)
    where = torch.rand(rows, old, generator=generator) < 0.5
    expected = reference(logits[:, :old], teacher.double().sigmoid(), where)
    assert float(sigmoid_distillation(logits, teacher, where)) == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("value", HUGE)
def test_an_unknown_entry_carries_no_gradient_even_through_a_huge_logit(value: float) -> None:
    logits = torch.tensor([[0.5, value], [value, -1.0]], requires_grad=True)
    loss = masked_bce(logits, torch.tensor([[1.0, -1.0], [-1.0, 0.0]]))
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert logits.grad[0, 1] == logits.grad[1, 0] == 0
    assert (logits.grad.diagonal() != 0).all()


@pytest.mark.parametrize("value", HUGE)
def test_an_entry_that_is_not_distilled_counts_nothing_even_with_huge_logits(value: float) -> None:
    where = torch.tensor([[True, False], [False, True]])
    logits = torch.tensor([[0.5, value], [value, -1.0]], requires_grad=True)
    teacher = torch.tensor([[0.1, value], [-value, 0.2]])
    loss = sigmoid_distillation(logits, teacher, where)
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert logits.grad[0, 1] == logits.grad[1, 0] == 0
    assert (logits.grad.diagonal() != 0).all()


def test_a_known_entry_far_on_the_right_side_costs_nothing_and_on_the_wrong_side_its_logit() -> None:
    targets = torch.tensor([[1.0, 0.0]])
    assert float(masked_bce(torch.tensor([[1e4, -1e4]]), targets)) == 0
    assert float(masked_bce(torch.tensor([[-1e4, 1e4]]), targets)) == 2e4


def test_columns_beyond_the_head_are_ignored() -> None:
    logits = torch.randn(3, 2)
    targets = torch.tensor([[1.0, 0.0], [0.0, -1.0], [0.3, 1.0]])
    longer = torch.cat([targets, torch.ones(3, 4)], dim=1)
    assert torch.equal(masked_bce(logits, longer), masked_bce(logits, targets))


def test_columns_the_teacher_does_not_know_get_no_gradient() -> None:
    logits = torch.randn(3, 4, requires_grad=True)
    sigmoid_distillation(logits, torch.randn(3, 2), torch.ones(3, 2, dtype=torch.bool)).backward()
    assert logits.grad is not None
    assert not logits.grad[:, 2:].any()


def test_no_gradient_flows_into_the_teacher() -> None:
    teacher = torch.randn(3, 2, requires_grad=True)
    logits = torch.randn(3, 2, requires_grad=True)
    sigmoid_distillation(logits, teacher, torch.ones(3, 2, dtype=torch.bool)).backward()
    assert teacher.grad is None


def test_a_student_that_agrees_with_its_teacher_is_at_rest() -> None:
    teacher = torch.randn(4, 3, dtype=torch.float64)
    logits = teacher.clone().requires_grad_()
    sigmoid_distillation(logits, teacher, torch.ones(4, 3, dtype=torch.bool)).backward()
    torch.testing.assert_close(logits.grad, torch.zeros_like(teacher), atol=1e-15, rtol=0)


def test_hiding_labels_does_not_change_what_a_known_entry_weighs() -> None:
    logits = torch.zeros(2, 3, requires_grad=True)
    masked_bce(logits, torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])).backward()
    hidden = torch.zeros(2, 3, requires_grad=True)
    masked_bce(hidden, torch.tensor([[1.0, -1.0, -1.0], [-1.0, -1.0, -1.0]])).backward()
    assert logits.grad is not None
    assert hidden.grad is not None
    assert logits.grad[0, 0] == hidden.grad[0, 0] == -0.25


@pytest.mark.parametrize(("rows", "columns"), [(3, 2), (3, 0), (0, 2)])
def test_without_a_known_entry_the_loss_is_zero_and_has_a_gradient_of_zero(rows: int, columns: int) -> None:
    logits = torch.randn(rows, columns, requires_grad=True)
    unknown = torch.full((rows, columns), -1.0)
    loss = masked_bce(logits, unknown) + sigmoid_distillation(logits, logits.detach(), unknown >= 0)
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_gradients_agree_with_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = draw_targets(4, 6, generator).double()
    teacher = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    where = torch.rand(4, 3, generator=generator) < 0.5
    assert torch.autograd.gradcheck(lambda z: masked_bce(z, targets), logits)
    assert torch.autograd.gradcheck(lambda z: sigmoid_distillation(z, teacher, where), logits)


def test_the_targets_are_left_as_they_were() -> None:
    targets = torch.tensor([[1.0, -1.0, 0.4]])
    masked_bce(torch.randn(1, 3), targets)
    assert torch.equal(targets, torch.tensor([[1.0, -1.0, 0.4]]))
