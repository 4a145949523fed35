"""POD-flat: directions of features, not lengths; nothing in the first step, and nothing without weight."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from clsim.errors import StrategyError
from clsim.scenario import load_scenario
from clsim.training.composition import Composition
from clsim.training.feature_distillation import pod_flat
from clsim.training.snapshot import Snapshot


def test_the_term_of_known_vectors() -> None:
    student, teacher = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert pod_flat(student, teacher).item() == pytest.approx(1)
    assert pod_flat(student, 2 * student).item() == pytest.approx(0)
    h, old = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(pod_flat(2 * h, old), pod_flat(h, old))
    expected = 1 - torch.stack([(a @ b) / (a.norm() * b.norm()) for a, b in zip(h, old, strict=True)]).mean()
    torch.testing.assert_close(pod_flat(h, old), expected)


class Terms:
    """The term of each step of the second task, and whether a hook is left at the head."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def after_backward(self, strategy: Any, **kwargs: Any) -> None:
        assert not strategy.model.head._forward_pre_hooks
        if strategy.position.task:
            self.values.append(float(strategy._terms["features"]))


def test_the_features_of_the_first_step_are_those_before_the_task(build: Any, learn: Any) -> None:
    found = []
    for weight in (1.0, 1000.0):
        terms = Terms()
        same_statistics = {"training.model.freeze": "batch-norm", "training.schedule": "constant"}
        learn(build("podnet", options={"weight": weight}, overrides=same_statistics, last=[terms]), tasks=2)
        assert terms.values[0] == pytest.approx(0, abs=1e-6 * weight)
        assert terms.values[-1] > 1e-3
        found.append(terms.values[-1] / weight)
    assert found[1] < found[0], "a heavier term keeps features closer"


def test_one_pass_of_the_teacher_serves_lwf_as_well(build: Any, learn: Any) -> None:
    passes, steps = [], []
    template = build("lwf+podnet")

    class Count:
        def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
            if strategy.position.task:
                teacher = strategy.find_plugin(Snapshot).model
                teacher.backbone.register_forward_hook(lambda *_: passes.append(1))

        def after_forward(self, strategy: Any, **kwargs: Any) -> None:
            steps.append(strategy.position.task)

    template.plugins.append(Count())
    learn(template, tasks=2)
    assert len(passes) == steps.count(1) > 0


def test_without_weight_it_is_its_host(build: Any, learn: Any, same_weights: Any) -> None:
    assert same_weights(learn(build("er+podnet", options={"podnet.weight": 0.0}), tasks=2), learn(build("er"), tasks=2))


def test_features_that_nothing_trains_are_refused() -> None:
    frozen = {"training.model.freeze": "backbone"}
    with pytest.raises(StrategyError, match="podnet binds features that are trained"):
        Composition("podnet").check(load_scenario("digits-b0c2", frozen).config, 10)
    Composition("podnet").check(load_scenario("digits-b0c2", {**frozen, "training.model.hidden": 8}).config, 10)
