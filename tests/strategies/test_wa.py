"""Weight aligning: head rows of one mean length, and no image's place among others changed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from clsim.errors import StrategyError
from clsim.models.head import GrowingHead
from clsim.scenario import load_scenario
from clsim.training.composition import Composition
from clsim.training.weight_aligning import WeightAligning


def test_the_factor_of_known_lengths() -> None:
    head = GrowingHead(2, seed=0)
    head.grow(3)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 4.0], [6.0, 8.0]]))
        head.bias.fill_(1.0)
    plugin = WeightAligning()
    task = SimpleNamespace(classes_in_this_experience=[1, 2], previous_classes=[0, 1])  # class 1 comes back
    plugin.finish_model(SimpleNamespace(model=SimpleNamespace(head=head), experience=task))  # type: ignore[arg-type]
    assert plugin.gamma == pytest.approx(0.35)
    torch.testing.assert_close(head.weight.norm(dim=1), torch.tensor([3.0, 4.0, 3.5]))
    assert head.bias.tolist() == [1, 1, 1]


def test_average_precision_cannot_see_it(build: Any, learn: Any) -> None:
    """After the same training: equal order of images in each class, equal scores of old ones, other scores of new."""
    host, aligned = (learn(build(spec), tasks=2) for spec in ("er", "er+wa"))
    rows = host.benchmark.train_stream[1].dataset.rows()
    one, other = (template.scored(template.model, template.store, rows) for template in (host, aligned))
    np.testing.assert_array_equal(one[:, :4], other[:, :4])
    assert (one[:, 4:] != other[:, 4:]).any()
    np.testing.assert_array_equal(one[:, 4:].argsort(axis=0), other[:, 4:].argsort(axis=0))


def test_a_network_with_another_head_is_refused() -> None:
    config = load_scenario("digits-b0c2").config
    with pytest.raises(StrategyError, match="wa needs the linear head of the scenario's network, which moments"):
        Composition("lwf+moments+wa", {"features": "anchor"}).check(config, 10)
