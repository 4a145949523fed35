"""Synaptic intelligence: importances along the path of training, without the penalty's own share."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from clsim.training.importances import SynapticIntelligence

PLAIN = {"training.optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.0}, "training.schedule": "constant"}


class Scalar(nn.Module):
    """One weight."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor([value], dtype=torch.float64))


def descend(plugin: SynapticIntelligence, model: Scalar, a: float, steps: int, lr: float = 1e-3) -> None:
    """Gradient steps on a / 2 theta^2, with the events of a run."""
    learner: Any = SimpleNamespace(model=model, add_loss=lambda name, value: losses.append(value))
    for _ in range(steps):
        losses = [a / 2 * model.theta.square().sum()]
        model.theta.grad = None
        plugin.before_backward(learner)
        sum(losses).backward()  # type: ignore[union-attr]
        plugin.after_backward(learner)
        with torch.no_grad():
            model.theta -= lr * model.theta.grad
        plugin.after_update(learner)


def test_omega_of_a_quadratic_loss_is_how_far_it_fell() -> None:
    plugin, model = SynapticIntelligence(0.5, 1.0), Scalar(2.0)
    learner: Any = SimpleNamespace(model=model)
    plugin.before_training_exp(learner)
    descend(plugin, model, a=3.0, steps=4000)
    assert plugin._omega["theta"].item() == pytest.approx(3.0 / 2 * 2.0**2, rel=2e-3)
    plugin.after_training_exp(learner)
    assert plugin.importances["theta"].item() == pytest.approx(6.0 / (2.0**2 + 1.0), rel=2e-3)


def test_the_penaltys_gradient_has_no_part_in_omega() -> None:
    plugin, model = SynapticIntelligence(2.0, 1.0), Scalar(1.0)
    plugin.anchors = {"theta": torch.tensor([0.5], dtype=torch.float64)}
    plugin.importances = {"theta": torch.tensor([3.0], dtype=torch.float64)}
    plugin.before_training_exp(SimpleNamespace(model=model))  # type: ignore[arg-type]
    descend(plugin, model, a=4.0, steps=1, lr=0.01)
    slope = 4.0 + 2 * 2.0 * 3.0 * 0.5  # of the loss, and of the penalty: 2 w Omega (theta - anchor)
    assert model.theta.item() == pytest.approx(1 - 0.01 * slope)
    assert plugin._omega["theta"].item() == pytest.approx(4.0 * 0.01 * slope)


def test_omega_of_a_step_of_sgd_is_the_rate_times_the_squared_gradient(build: Any, learn: Any) -> None:
    template = build("si", overrides={**PLAIN, "training.epochs": 1, "training.batch_size": 64})
    plugin = next(plugin for plugin in template.plugins if isinstance(plugin, SynapticIntelligence))
    seen: dict[str, torch.Tensor] = {}

    class Look:
        def after_update(self, strategy: Any, **kwargs: Any) -> None:
            for name, theta in strategy.model.named_parameters():
                torch.testing.assert_close(plugin._omega[name], 0.05 * theta.grad**2, rtol=1e-3, atol=1e-6)
                seen[name] = theta.grad**2

    template.plugins.append(Look())
    learn(template, tasks=1)
    assert seen.keys() == plugin.importances.keys()
    for name, squared in seen.items():
        expected = 0.05 * squared / (0.05**2 * squared + 1)
        torch.testing.assert_close(plugin.importances[name], expected, rtol=1e-3, atol=1e-6)


def test_without_weight_it_is_finetuning_and_with_weight_it_is_not(build: Any, learn: Any, same_weights: Any) -> None:
    plain = learn(build(), tasks=2)
    assert same_weights(learn(build("si", options={"weight": 0.0}), tasks=2), plain)
    heavy = learn(build("si", options={"weight": 100.0}), tasks=2)
    assert not same_weights(heavy, plain)
    plugin = next(plugin for plugin in heavy.plugins if isinstance(plugin, SynapticIntelligence))
    assert plugin.importances["head.weight"].shape[0] == 8
    assert all((importance >= 0).all() for importance in plugin.importances.values())
