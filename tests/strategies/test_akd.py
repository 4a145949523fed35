"""AKD: its two losses, and the control that it is sigmoid LwF when both factors are off."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from clsim.scenario.training_schema import AslSection
from clsim.training.composition import Composition
from clsim.training.losses import (
    asymmetric,
    decayed_distillation,
    emphasised_negatives,
    masked_bce,
    sigmoid_distillation,
)


def case(seed: int, soft: bool = False) -> tuple[Tensor, Tensor]:
    """Logits float64 [7, 5] and targets [7, 8] with unknown entries."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(7, 5, generator=generator, dtype=torch.float64)
    targets = torch.randint(-1, 2, (7, 8), generator=generator).double()
    if soft:
        targets = torch.where(targets == 1, torch.rand(7, 8, generator=generator, dtype=torch.float64), targets)
    return logits, targets


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("soft", [False, True])
def test_the_classification_term_is_its_formula(seed: int, gamma: float, soft: bool) -> None:
    logits, targets = case(seed, soft)
    p, y = logits.sigmoid(), targets[:, :5]
    entries = (1 - p) ** gamma * y * p.log() + (1 - y) * (1 - p).log()
    expected = -entries[y >= 0].sum() / 7
    torch.testing.assert_close(emphasised_negatives(logits, targets, gamma), expected)


@pytest.mark.parametrize("on", ["both", "positive"])
@pytest.mark.parametrize("decay", [0.0, 1.0, 4.0])
def test_the_distillation_term_is_its_formula(on: str, decay: float) -> None:
    student, _ = case(1)
    teacher, where = case(2)[0][:, :3], case(3)[1][:, :3] < 0
    p, q = student[:, :3].sigmoid(), teacher.sigmoid()
    weight = torch.exp(-decay * q)
    positive, negative = q * p.log(), (1 - q) * (1 - p).log()
    entries = weight * (positive + negative) if on == "both" else weight * positive + negative
    expected = -entries[where].sum() / 7
    torch.testing.assert_close(decayed_distillation(student, teacher, where, decay, on), expected)


def test_the_factor_of_positives_carries_no_gradient() -> None:
    logits, targets = case(4)
    logits.requires_grad_()
    emphasised_negatives(logits, targets, gamma=2.0).backward()
    p, y = logits.detach().sigmoid(), targets[:, :5]
    expected = torch.where(y < 0, 0.0, (1 - p) ** 2 * y * (p - 1) + (1 - y).clamp(max=1) * p) / 7
    torch.testing.assert_close(logits.grad, expected)


def test_distillation_on_both_halves_has_its_minimum_at_the_teacher_and_on_the_positive_half_below() -> None:
    teacher = torch.tensor([[1.5]], dtype=torch.float64)
    where = torch.ones(1, 1, dtype=torch.bool)
    gradients = {}
    for on in ("both", "positive"):
        student = teacher.clone().requires_grad_()
        decayed_distillation(student, teacher, where, 1.0, on).backward()
        assert student.grad is not None
        gradients[on] = float(student.grad)
    assert gradients["both"] == pytest.approx(0, abs=1e-12)
    assert gradients["positive"] > 0.01  # descent lowers the student


def test_gradients_agree_with_finite_differences() -> None:
    student, targets = case(5)
    teacher, where = case(6)[0][:, :3], case(7)[1][:, :3] < 0
    student.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: decayed_distillation(z, teacher, where, 1.0, "positive"), student)
    assert torch.autograd.gradcheck(lambda z: emphasised_negatives(z, targets, 0.0), student)


def test_unknown_entries_carry_no_gradient_even_at_infinity() -> None:
    logits, targets = case(8)
    logits[0, 0], targets[0, 0] = float("inf"), -1
    logits.requires_grad_()
    emphasised_negatives(logits, targets).backward()
    assert (logits.grad[targets[:, :5] < 0] == 0).all()
    assert torch.isfinite(logits.grad).all()


def test_without_both_factors_the_terms_are_bce_and_sigmoid_distillation_to_the_last_bit() -> None:
    logits, targets = (tensor.float() for tensor in case(9))
    teacher, where = case(10)[0][:, :3].float(), case(11)[1][:, :3] < 0
    for ours, theirs in (
        (lambda z: emphasised_negatives(z, targets, 0.0), lambda z: masked_bce(z, targets)),
        (lambda z: decayed_distillation(z, teacher, where, 0.0), lambda z: sigmoid_distillation(z, teacher, where)),
    ):
        a, b = logits.clone().requires_grad_(), logits.clone().requires_grad_()
        left, right = ours(a), theirs(b)
        left.backward()
        right.backward()
        assert torch.equal(left, right)
        assert torch.equal(a.grad, b.grad)


@pytest.mark.parametrize("more", ["", "+er"])
def test_akd_without_its_factors_is_lwf_to_the_last_bit(build: Any, learn: Any, same_weights: Any, more: str) -> None:
    off = {"akd.gamma": 0.0, "akd.decay": 0.0}
    assert same_weights(learn(build(f"akd{more}", options=off)), learn(build(f"lwf{more}")))


def test_each_factor_changes_the_weights(build: Any, learn: Any, same_weights: Any) -> None:
    plain = learn(build("lwf"))
    assert not same_weights(learn(build("akd", options={"gamma": 0.0})), plain)
    assert not same_weights(learn(build("akd", options={"decay": 0.0})), plain)


def test_the_first_task_has_only_the_classification_term(build: Any, learn: Any, same_weights: Any) -> None:
    a = learn(build("akd", options={"kd_weight": 0.0}), tasks=1)
    assert same_weights(a, learn(build("akd", options={"kd_weight": 5.0}), tasks=1))


def test_its_classification_term_may_be_that_of_the_scenario() -> None:
    section = AslSection(name="asl")
    own, scenarios = Composition("rebll"), Composition("rebll", {"akd.classification": "scenario"})
    assert own.criterion(section).func is emphasised_negatives
    assert own.loss_of() == "akd"
    assert scenarios.criterion(section).func is asymmetric
    assert scenarios.loss_of() is None
    assert scenarios.first_task_key() == Composition("er").first_task_key() != own.first_task_key()
