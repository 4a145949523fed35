"""The teacher is the model after the previous task, frozen; it speaks where the batch is silent."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from clsim.models.build import build_model
from clsim.scenario.training_schema import ModelSection
from clsim.training.distillation import Distillation
from clsim.training.losses.binary import sigmoid_distillation
from clsim.training.snapshot import Snapshot


class Watch:
    """Records the model at the end of each task and the distillation at each step."""

    def __init__(self) -> None:
        self.after_task: list[dict[str, torch.Tensor]] = []
        self.steps: list[dict[str, Any]] = []

    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        self.after_task.append({key: value.clone() for key, value in strategy.model.state_dict().items()})

    def after_backward(self, strategy: Any, **kwargs: Any) -> None:
        teacher = distillation_of(strategy).teacher
        step = {"task": strategy.position.task, "teacher": None, "loss": float(strategy.loss.detach())}
        if teacher is not None:
            step["teacher"] = {key: value.clone() for key, value in teacher.state_dict().items()}
            step["train"] = any(module.training for module in teacher.modules())
            step["grad"] = any(p.requires_grad or p.grad is not None for p in teacher.parameters())
            with torch.no_grad():
                answer = teacher(strategy.mb_x)
            where = (strategy.mb_y[:, : answer.shape[1]] == -1) & strategy.distillable[:, None]
            output = strategy.mb_output.detach()
            step["classification"] = float(strategy._criterion(output, strategy.mb_y))
            step["distillation"] = float(sigmoid_distillation(output, answer, where))
        self.steps.append(step)


def distillation_of(template: Any) -> Distillation:
    return next(plugin for plugin in template.plugins if isinstance(plugin, Distillation))


def watched(build: Any, learn: Any, spec: str = "lwf", **options: Any) -> Watch:
    watch = Watch()
    learn(build(spec, options=options, first=[watch]))
    return watch


def test_the_first_task_has_no_teacher(build: Any, learn: Any) -> None:
    assert {step["teacher"] is None for step in watched(build, learn).steps if step["task"] == 0} == {True}


def test_the_teacher_is_the_model_after_the_previous_task_to_the_last_bit(build: Any, learn: Any) -> None:
    watch = watched(build, learn)
    for step in watch.steps:
        if step["task"]:
            before = watch.after_task[step["task"] - 1]
            assert all(torch.equal(before[key], value) for key, value in step["teacher"].items())


def test_the_teacher_is_in_eval_mode_and_has_no_gradients(build: Any, learn: Any) -> None:
    for step in watched(build, learn).steps:
        if step["task"]:
            assert not step["train"]
            assert not step["grad"]


@pytest.mark.parametrize("spec", ["lwf", "lwf+er"])
def test_the_loss_is_classification_plus_the_weighted_distillation(build: Any, learn: Any, spec: str) -> None:
    steps = [s for s in watched(build, learn, spec, weight=3.0).steps if s["task"]]
    assert any(step["distillation"] > 0.1 for step in steps)
    for step in steps:
        assert step["loss"] == pytest.approx(step["classification"] + 3 * step["distillation"], rel=1e-5)


def test_rows_a_policy_excludes_are_not_distilled(build: Any, learn: Any) -> None:
    for step in watched(build, learn, old_classes="ignore").steps:
        if step["task"]:
            assert step["distillation"] == 0
            assert step["loss"] == pytest.approx(step["classification"])


def test_distillation_without_weight_is_finetune_to_the_last_bit(build: Any, learn: Any, same_weights: Any) -> None:
    assert same_weights(learn(build("lwf", options={"weight": 0.0})), learn(build("finetune")))


def test_distillation_changes_the_later_tasks(build: Any, learn: Any, same_weights: Any) -> None:
    assert not same_weights(learn(build("lwf"), tasks=2), learn(build("finetune"), tasks=2))


def test_a_loaded_teacher_follows_the_run_to_its_device() -> None:
    snapshot = Snapshot(partial(build_model, ModelSection(), 0))
    snapshot.model = build_model(ModelSection(), 0)
    snapshot.model.head.grow(3)
    plugin = Distillation(sigmoid_distillation, 1.0, snapshot)
    device = torch.device("meta")
    terms: list[torch.Tensor] = []
    strategy = SimpleNamespace(
        device=device,
        logits=lambda model, x: model(x),
        mb_x=torch.empty(2, 3, 16, 16, device=device),
        mb_y=torch.empty(2, 5, device=device),
        mb_output=torch.empty(2, 5, device=device),
        distillable=torch.empty(2, dtype=torch.bool, device=device),
        add_loss=lambda name, value: terms.append(value),
    )
    plugin.after_forward(strategy)
    plugin.before_backward(strategy)
    assert terms[0].device == device
