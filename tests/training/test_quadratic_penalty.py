"""The base of penalties on weights: its gradient, growth, and a state that is a copy."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from clsim.training.quadratic_penalty import WeightPenalty


def test_the_penalty_grows_with_the_head_and_its_gradient_is_that_of_a_quadratic() -> None:
    torch.manual_seed(0)
    plugin, model = WeightPenalty(3.0), nn.Linear(4, 2)
    learner: Any = SimpleNamespace(model=model, add_loss=lambda name, value: value.backward())
    plugin.before_backward(learner)
    assert model.weight.grad is None
    importances = {name: torch.rand_like(theta) for name, theta in model.named_parameters()}
    plugin.consolidate(learner, importances)
    anchor, state = model.weight.detach().clone(), plugin.state_dict()
    with torch.no_grad():
        model.weight += 1.0
    assert torch.equal(plugin.anchors["weight"], anchor)

    learner.model = grown = nn.Linear(4, 5)
    plugin.before_training_exp(learner)
    plugin.before_backward(learner)
    expected = 2 * 3.0 * importances["weight"] * (grown.weight.detach()[:2] - anchor)
    torch.testing.assert_close(grown.weight.grad[:2], expected)
    assert not grown.weight.grad[2:].any()
    assert state["anchors"]["weight"].shape == (2, 4)
