"""What `training.model.freeze` names stays as it was through a whole run; all else trains in train mode."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

METHODS = ["finetune", "lwf+er", "ewc", "joint"]
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class Modes:
    """Whether batch norm and all other modules of the model are in train mode at each training step."""

    def __init__(self) -> None:
        self.batch_norm: list[bool] = []
        self.others: list[bool] = []

    def after_forward(self, strategy: Any, **kwargs: Any) -> None:
        for module in strategy.model.modules():
            (self.batch_norm if isinstance(module, nn.BatchNorm2d) else self.others).append(module.training)

    def state_dict(self) -> dict[str, Any]:
        return {}


def backbone_of(template: Any) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in template.model.backbone.state_dict().items()}


@pytest.fixture
def trained(build: Any, learn: Any) -> Any:
    """Trains with a freeze and returns the backbone before and after, the modes and the template."""

    def run(spec: str, freeze: str, **overrides: Any) -> Any:
        modes = Modes()
        template = build(spec, overrides={"training.model.freeze": freeze, **overrides}, last=[modes])
        before = backbone_of(template)
        learn(template)
        return before, backbone_of(template), modes, template

    return run


@pytest.mark.parametrize("spec", METHODS)
@pytest.mark.parametrize("every", ["task", "epoch"])
def test_a_frozen_backbone_keeps_weights_and_statistics_to_the_last_bit(trained: Any, spec: str, every: str) -> None:
    before, after, _, template = trained(spec, "backbone", **{"evaluation.every": every})
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert template.model.head.bias.abs().min() > 0, "the head should have been trained"


@pytest.mark.parametrize("spec", METHODS)
@pytest.mark.parametrize("every", ["task", "epoch"])
def test_frozen_statistics_stay_while_weights_train(trained: Any, spec: str, every: str) -> None:
    before, after, _, _ = trained(spec, "batch-norm", **{"evaluation.every": every})
    for key in before:
        assert torch.equal(before[key], after[key]) == key.endswith(STATISTICS), key


def test_without_a_freeze_statistics_and_weights_move(trained: Any) -> None:
    before, after, _, _ = trained("finetune", "none")
    assert not any(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("freeze", ["none", "batch-norm", "backbone"])
@pytest.mark.parametrize("spec", METHODS)
def test_only_frozen_batch_norm_trains_in_eval_mode(trained: Any, spec: str, freeze: str) -> None:
    _, _, modes, _ = trained(spec, freeze, **{"evaluation.every": "epoch"})
    assert set(modes.batch_norm) == {freeze == "none"}
    assert set(modes.others) == {True}


@pytest.mark.parametrize("freeze", ["batch-norm", "backbone"])
def test_switching_between_evaluation_and_training_thaws_nothing(build: Any, freeze: str) -> None:
    model = build(overrides={"training.model.freeze": freeze}).model
    for switch in (model.eval, model.train, lambda: model.train(False), lambda: model.train(True)):
        assert switch() is model
        assert not any(module.training for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    assert model.training
    assert model.head.training
    assert not any(module.training for module in model.eval().modules())


def test_the_optimiser_holds_the_head_alone_under_a_frozen_backbone(trained: Any) -> None:
    _, _, _, template = trained("finetune", "backbone")
    held = {id(p) for group in template.optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in template.model.head.parameters()}


def test_a_teacher_of_a_frozen_network_is_frozen_too(trained: Any) -> None:
    _, _, _, template = trained("lwf", "batch-norm")
    teacher = template.plugins[1].teacher
    assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
