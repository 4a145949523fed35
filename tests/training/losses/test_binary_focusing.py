"""Focal and asymmetric loss against float64 references, safe at every logit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from clsim.scenario.training_schema import AslSection, BceSection, FocalSection
from clsim.training.losses.binary import asymmetric, focal, masked_bce
from clsim.training.losses.criterion import base_loss

SETTINGS: list[tuple[Callable[..., Tensor], dict[str, Any]]] = [
    *((focal, {"gamma": gamma, "alpha": alpha}) for gamma in (0.0, 0.5, 1.0, 2.0) for alpha in (None, 0.25)),
    *(
        (asymmetric, {"gamma_neg": neg, "gamma_pos": pos, "clip": clip})
        for neg, pos in ((4.0, 1.0), (4.0, 0.0), (0.0, 0.0), (0.5, 0.5))
        for clip in (0.0, 1e-9, 0.05, 0.4)
    ),
]
every = pytest.mark.parametrize(("loss", "options"), SETTINGS, ids=lambda value: getattr(value, "__name__", str(value)))
shapes = st.tuples(st.integers(1, 7), st.integers(0, 6), st.integers(0, 3), st.integers(0, 10_000))


def draw(shape: tuple[int, int, int, int]) -> tuple[Tensor, Tensor]:
    """Logits float32 [B, S]; targets float32 [B, C]: present, absent, unknown and soft in about equal parts."""
    rows, seen, future, seed = shape
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(4, (rows, seen + future), generator=generator)
    soft = torch.rand(rows, seen + future, generator=generator)
    return 4 * torch.randn(rows, seen, generator=generator), torch.where(kind == 3, soft, kind.float() - 1)


def reference(loss: Any, options: dict[str, Any], logits: Tensor, targets: Tensor, factor: Any = Tensor.detach) -> Any:
    """The formulas of the papers entry by entry, in float64; `factor` is applied to focusing factors of ASL."""
    total = torch.zeros((), dtype=torch.float64)
    for row, z_row in enumerate(logits.double()):
        for column, z in enumerate(z_row):
            y = float(targets[row, column])
            if y < 0:
                continue
            p = 1 / (1 + torch.exp(-z))
            if loss is focal:
                a = options["alpha"]
                positive, negative = (1, 1) if a is None else (a, 1 - a)
                total = total - positive * y * (1 - p) ** options["gamma"] * torch.log(p)
                total = total - negative * (1 - y) * p ** options["gamma"] * torch.log(1 - p)
            else:
                m = torch.maximum(p - options["clip"], torch.zeros_like(p))
                total = total - y * factor((1 - p) ** options["gamma_pos"]) * torch.log(p)
                total = total - (1 - y) * factor(m ** options["gamma_neg"]) * torch.log(1 - m)
    return total / len(logits)


@every
@settings(max_examples=15, deadline=None)
@given(shapes)
def test_values_are_those_of_the_formula(loss: Any, options: Any, shape: tuple[int, int, int, int]) -> None:
    logits, targets = draw(shape)
    expected = float(reference(loss, options, logits, targets))
    assert float(loss(logits, targets, **options)) == pytest.approx(expected, rel=2e-5, abs=2e-6)


@every
def test_gradients_are_those_of_the_formula(loss: Any, options: Any) -> None:
    logits, targets = draw((5, 6, 2, 1))
    mine, theirs = logits.double().requires_grad_(), logits.double().requires_grad_()
    loss(mine, targets.double(), **options).backward()
    reference(loss, options, theirs, targets.double()).backward()
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-7, atol=1e-9)


def test_the_focusing_factors_of_asl_carry_no_gradient() -> None:
    logits, targets = draw((5, 6, 0, 2))
    options = {"gamma_neg": 4.0, "gamma_pos": 1.0, "clip": 0.05}
    mine, through = logits.double().requires_grad_(), logits.double().requires_grad_()
    asymmetric(mine, targets.double(), **options).backward()
    reference(asymmetric, options, through, targets.double(), factor=lambda value: value).backward()
    assert mine.grad is not None
    assert through.grad is not None
    assert (mine.grad - through.grad).abs().max() > 0.01


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_the_factors_of_focal_loss_carry_gradient(gamma: float) -> None:
    logits, targets = draw((4, 5, 1, 3))
    exact = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: focal(z, targets.double(), gamma, 0.3), exact)


@pytest.mark.parametrize("clip", [0.0, 0.05])
def test_asl_on_hard_labels_is_the_authors_code(clip: float) -> None:
    logits, targets = draw((6, 5, 0, 4))
    y = (targets > 0.5).float()
    p = logits.double().sigmoid()
    absent = (1 - p + clip).clamp(max=1)
    entries = y * torch.log(p.clamp(min=1e-8)) + (1 - y) * torch.log(absent.clamp(min=1e-8))
    pt = p * y + absent * (1 - y)
    expected = -(entries * torch.pow(1 - pt, 1 * y + 4 * (1 - y))).sum() / len(y)
    assert float(asymmetric(logits, y, 4, 1, clip)) == pytest.approx(float(expected), rel=1e-5)


# --- special cases


@pytest.mark.parametrize(
    ("loss", "zeros"), [(focal, {"gamma": 0}), (asymmetric, {"gamma_neg": 0, "gamma_pos": 0, "clip": 0})]
)
@settings(max_examples=30, deadline=None)
@given(shapes)
def test_without_focusing_it_is_binary_cross_entropy(loss: Any, zeros: Any, shape: tuple[int, int, int, int]) -> None:
    logits, targets = draw(shape)
    assert float(loss(logits, targets, **zeros)) == pytest.approx(
        float(masked_bce(logits, targets)), rel=1e-6, abs=1e-6
    )


def test_a_negative_below_the_clip_costs_nothing_and_pulls_nothing() -> None:
    logits = torch.tensor([[-4.0, -3.5]], requires_grad=True)  # p = 0.018, 0.029
    loss = asymmetric(logits, torch.zeros(1, 2), gamma_neg=0, clip=0.05)
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_alpha_weighs_positives_and_the_rest_negatives() -> None:
    logits = torch.tensor([[0.7]])
    for target, weight in ((1.0, 0.25), (0.0, 0.75)):
        y = torch.tensor([[target]])
        assert float(focal(logits, y, alpha=0.25)) == pytest.approx(weight * float(focal(logits, y)), rel=1e-6)


# --- numerical traps


@every
@pytest.mark.parametrize("value", [float("inf"), -float("inf"), 1e30, -1e30])
def test_an_unknown_entry_carries_no_gradient_even_through_an_infinite_logit(
    loss: Any, options: Any, value: float
) -> None:
    logits = torch.tensor([[0.5, value], [value, 0.25]], requires_grad=True)
    result = loss(logits, torch.tensor([[1.0, -1.0], [-1.0, 0.0]]), **options)
    result.backward()
    assert torch.isfinite(result)
    assert logits.grad is not None
    assert logits.grad[0, 1] == logits.grad[1, 0] == 0
    assert (logits.grad.diagonal() != 0).all()


@every
@pytest.mark.parametrize("size", [20.0, 100.0, 1e4])
@pytest.mark.parametrize("target", [0.0, 0.5, 1.0])
def test_large_logits_give_finite_losses_and_gradients(loss: Any, options: Any, size: float, target: float) -> None:
    logits = torch.tensor([[size, -size]], requires_grad=True)
    result = loss(logits, torch.full((1, 2), target), **options)
    result.backward()
    assert torch.isfinite(result)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_a_confident_mistake_keeps_its_gradient_without_a_clip() -> None:
    logits = torch.tensor([[100.0, -100.0]], requires_grad=True)
    asymmetric(logits, torch.tensor([[0.0, 1.0]]), clip=0).backward()
    assert logits.grad is not None
    assert logits.grad.tolist() == [[1.0, -1.0]]


# --- the scenario's loss


def test_a_scenarios_loss_is_the_function_with_its_options() -> None:
    logits, targets = draw((5, 4, 2, 5))
    asl = AslSection(name="asl", gamma_neg=3.0, gamma_pos=0.0, clip=0.1)
    assert torch.equal(base_loss(BceSection(name="bce"))(logits, targets), masked_bce(logits, targets))
    assert torch.equal(
        base_loss(FocalSection(name="focal", gamma=1.0, alpha=0.3))(logits, targets), focal(logits, targets, 1.0, 0.3)
    )
    assert torch.equal(base_loss(asl)(logits, targets), asymmetric(logits, targets, 3.0, 0.0, 0.1))


class Loss:
    """Records the loss of each batch and what it must be."""

    def __init__(self, loss: Callable[..., Tensor]) -> None:
        self.loss = loss
        self.pairs: list[tuple[Tensor, Tensor]] = []

    def before_backward(self, strategy: Any, **kwargs: Any) -> None:
        self.pairs.append((strategy.loss.detach(), self.loss(strategy.mb_output, strategy.mb_y).detach()))


@pytest.mark.parametrize(("name", "loss"), [("focal", focal), ("asl", asymmetric)])
def test_a_run_trains_with_the_loss_of_its_scenario(build: Any, learn: Any, name: str, loss: Any) -> None:
    record = Loss(loss)
    learn(build(overrides={"training.loss.name": name}, last=[record]), tasks=2)
    assert len(record.pairs) > 4
    assert all(float(given) == float(expected) for given, expected in record.pairs)
