"""bfloat16, memory layout and clipped gradients: what they change, and what they must not."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from avalanche.core import SupervisedPlugin
from torch import nn

from clsim.models.build import build_model
from clsim.scenario.training_schema import TrainingSection
from clsim.training.distillation import Distillation
from clsim.training.precision import compile_backbone, run_network

BFLOAT16 = {"training.precision": "bfloat16"}
CHANNELS_LAST = {"training.model.channels_last": True}


class Inside(SupervisedPlugin):
    """Records what the first convolution takes and gives, and what the losses and the evaluator meet."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: set[Any] = set()
        self.inputs: set[bool] = set()
        self.logits: set[Any] = set()
        self.losses: list[float] = []

    def before_training(self, strategy: Any, **kwargs: Any) -> None:
        def look(module: Any, given: Any, output: Any) -> None:
            self.outputs.add(output.dtype)
            self.inputs.add(given[0].is_contiguous(memory_format=torch.channels_last))

        self.hook = strategy.model.backbone.stem[0].register_forward_hook(look)

    def after_training(self, strategy: Any, **kwargs: Any) -> None:
        self.hook.remove()

    def after_forward(self, strategy: Any, **kwargs: Any) -> None:
        self.logits.add(strategy.mb_output.dtype)

    def after_eval_forward(self, strategy: Any, **kwargs: Any) -> None:
        self.logits.add(strategy.mb_output.dtype)

    def after_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
        self.losses.append(strategy.epoch_losses()["total"])


# --- bfloat16


@pytest.mark.parametrize("overrides", [BFLOAT16, BFLOAT16 | CHANNELS_LAST], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("spec", ["finetune", "lwf+er", "ewc"])
def test_bfloat16_computes_in_bfloat16_and_gives_float32_logits(
    build: Any, learn: Any, spec: str, overrides: Any
) -> None:
    inside = Inside()
    template = learn(build(spec, overrides=overrides, last=[inside]))
    assert torch.bfloat16 in inside.outputs
    assert inside.logits == {torch.float32}
    assert {parameter.dtype for parameter in template.model.parameters()} == {torch.float32}


def test_a_teacher_speaks_in_the_precision_of_its_student(build: Any, learn: Any) -> None:
    outputs = set()

    class Listen(SupervisedPlugin):
        def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
            teacher = strategy.find_plugin(Distillation).teacher
            if teacher is not None:
                teacher.backbone.stem[0].register_forward_hook(lambda module, given, output: outputs.add(output.dtype))

    learn(build("lwf", overrides=BFLOAT16, last=[Listen()]), tasks=2)
    assert outputs == {torch.bfloat16}


def test_scores_computed_in_bfloat16_are_not_rounded_to_it(build: Any) -> None:
    template = build(overrides=BFLOAT16)
    template.model.head.grow(4)
    logits = template.logits(template.model, torch.randn(64, 3, 28, 28, generator=torch.Generator().manual_seed(0)))
    assert (logits.bfloat16().float() != logits).float().mean() > 0.9


def test_float32_is_float32_throughout(build: Any, learn: Any) -> None:
    inside = Inside()
    learn(build("lwf+er", last=[inside]))
    assert inside.outputs == inside.logits == {torch.float32}


@pytest.mark.parametrize("overrides", [{}, BFLOAT16, BFLOAT16 | CHANNELS_LAST], ids=str)
def test_the_loss_of_a_task_falls_in_every_precision(build: Any, learn: Any, overrides: Any) -> None:
    inside = Inside()
    learn(build(overrides=overrides | {"training.epochs": 8}, last=[inside]), tasks=1)
    assert inside.losses[-1] < 0.8 * inside.losses[0]


# --- memory layout


def test_channels_last_reaches_the_images_and_keeps_the_kernels(build: Any, learn: Any) -> None:
    inside = Inside()
    template = learn(build("lwf+er", overrides=CHANNELS_LAST, last=[inside]))
    assert inside.inputs == {True}
    kernels = [p for p in template.model.parameters() if p.ndim == 4 and p.shape[2] > 1]
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)


def test_the_memory_layout_changes_no_more_than_rounding(build: Any) -> None:
    x = torch.randn(4, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    scores = []
    for overrides in ({}, CHANNELS_LAST):
        template = build(overrides=overrides)
        template.model.head.grow(4)
        scores.append(template.logits(template.model, x))
    torch.testing.assert_close(*scores, rtol=1e-4, atol=1e-5)


# --- clipped gradients


class Norms(SupervisedPlugin):
    """All gradients before and after the limit."""

    def __init__(self) -> None:
        super().__init__()
        self.before: list[torch.Tensor] = []
        self.after: list[torch.Tensor] = []

    def before_update(self, strategy: Any, **kwargs: Any) -> None:
        self.before.append(self._all(strategy))

    def after_update(self, strategy: Any, **kwargs: Any) -> None:
        self.after.append(self._all(strategy))

    def _all(self, strategy: Any) -> torch.Tensor:
        return torch.cat([p.grad.flatten() for p in strategy.model.parameters() if p.grad is not None])


@pytest.mark.parametrize("limit", [0.05, 1.0])
def test_the_norm_of_all_gradients_together_is_limited(build: Any, learn: Any, limit: float) -> None:
    norms = Norms()
    learn(build("lwf+er", overrides={"training.clip_norm": limit}, last=[norms]))
    for before, after in zip(norms.before, norms.after, strict=True):
        factor = min(1.0, limit / float(before.norm()))
        torch.testing.assert_close(after, before * factor, rtol=1e-4, atol=1e-7)
    assert max(float(before.norm()) for before in norms.before) > limit, "the limit should have been met"


def test_without_a_limit_gradients_are_left_alone(build: Any, learn: Any) -> None:
    norms = Norms()
    learn(build(last=[norms]))
    assert all(torch.equal(before, after) for before, after in zip(norms.before, norms.after, strict=True))


def test_a_limit_that_is_never_met_changes_nothing(build: Any, learn: Any, same_weights: Any) -> None:
    assert same_weights(learn(build(overrides={"training.clip_norm": 1e6})), learn(build()))


def test_gradients_of_what_has_since_been_frozen_do_not_count(build: Any, learn: Any) -> None:
    class Freeze(SupervisedPlugin):
        def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
            strategy.model.backbone.requires_grad_(strategy.position.task == 0)

        def after_backward(self, strategy: Any, **kwargs: Any) -> None:
            if strategy.position.task:
                assert all(p.grad is None for p in strategy.model.backbone.parameters())

    norms = Norms()
    template = learn(build(overrides={"training.clip_norm": 0.05}, last=[Freeze(), norms]))
    head = sum(p.numel() for p in template.model.head.parameters())
    assert len(norms.before[-1]) == head
    assert float(norms.after[-1].norm()) == pytest.approx(0.05, rel=1e-3)


def test_a_batch_of_one_row_takes_the_stored_statistics_where_a_variance_does_not_exist() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(4))
    first, last = network[1], network[3]
    config = TrainingSection.model_validate({"epochs": 1, "optimizer": {"lr": 0.1}})
    output = run_network(network.train(), torch.rand(1, 3, 8, 8), config)
    assert output.isfinite().all()
    assert (first.num_batches_tracked, last.num_batches_tracked) == (1, 0)
    assert all(module.training for module in network.modules())
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in network.modules())


def test_the_backbone_alone_is_compiled_once_and_on_a_gpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrainingSection.model_validate(
        {"epochs": 1, "optimizer": {"lr": 0.1}, "compile": "backbone", "model": {"image_size": 16}}
    )
    network = build_model(config.model, 0)
    compile_backbone(network, config, torch.device("cpu"))
    assert network.backbone._compiled_call_impl is None
    compiled: list[nn.Module] = []

    def remember(self: nn.Module) -> None:
        compiled.append(self)
        self._compiled_call_impl = self.forward

    monkeypatch.setattr(nn.Module, "compile", remember)
    for _ in range(2):
        compile_backbone(network, config, torch.device("cuda"))
    assert compiled == [network.backbone]
    assert copy.deepcopy(network).backbone._compiled_call_impl is None
