"""The loop: Avalanche's order of events, modes, and the set-up of a task."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from avalanche.core import SupervisedPlugin
from avalanche.logging import BaseLogger
from avalanche.training.plugins import EvaluationPlugin, ReplayPlugin
from avalanche.training.templates import SupervisedTemplate

from clsim.errors import RunError
from clsim.models.build import build_model
from clsim.scenario.training_schema import ModelSection
from clsim.training.losses.binary import masked_bce

EVENTS = [name for name in dir(SupervisedPlugin) if name.startswith(("before_", "after_"))]


class Events(SupervisedPlugin):
    """Records every callback."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []


for _event in EVENTS:
    setattr(Events, _event, lambda self, strategy, *args, _event=_event, **kwargs: self.seen.append(_event))


# --- events


def test_a_stock_plugin_gets_every_callback_in_avalanches_own_order(build: Any, learn: Any) -> None:
    ours, stock = Events(), Events()
    template = learn(build(overrides={"training.epochs": 1}, last=[ours]), tasks=2)
    benchmark = template.benchmark
    model = build_model(ModelSection(), 0)
    model.head.grow(10)
    avalanche = SupervisedTemplate(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        criterion=masked_bce,
        train_mb_size=16,
        eval_mb_size=64,
        plugins=[stock],
        evaluator=EvaluationPlugin(loggers=[BaseLogger()]),
    )
    for experience in benchmark.train_stream[:2]:
        avalanche.train(experience, eval_streams=[])
        avalanche.eval(benchmark.evaluation_stream)
    assert set(ours.seen) == set(EVENTS)
    assert ours.seen == stock.seen


def test_stop_training_ends_the_task_but_not_the_run(new_rows: Any) -> None:
    class Stop(SupervisedPlugin):
        def after_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
            if strategy.position.task == 0:
                strategy.stop_training()

    rows = new_rows(first=[Stop()])
    assert [key for key in rows if key[0] == 0] == [(0, 0, 0)]
    assert {key[:2] for key in rows if key[0]} == {(1, 0), (1, 1), (2, 0), (2, 1)}


def test_a_stock_plugin_may_replace_the_data_loader(build: Any, learn: Any) -> None:
    class Record(SupervisedPlugin):
        def __init__(self) -> None:
            super().__init__()
            self.images: dict[int, set[bytes]] = {}
            self.rows: dict[int, list[Any]] = {}

        def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
            task = strategy.position.task
            strategy.extend_batch(strategy.mb_x[:1], strategy.mb_y[:1], torch.tensor([0]))
            self.images.setdefault(task, set()).update(x.numpy().tobytes() for x in strategy.mb_x)
            self.rows.setdefault(task, []).append(strategy.rows)
            assert len(strategy.mb_x) == len(strategy.replayed)

    record = Record()
    template = learn(build(first=[ReplayPlugin(mem_size=10), record]), tasks=2)
    own = {x.numpy().tobytes() for x, _, _ in template.benchmark.train_stream[1].dataset}
    assert record.images[1] - own, "no stored row was replayed"
    assert record.images[1] - own <= record.images[0]
    assert all(rows is not None for rows in record.rows[0])
    assert all(rows is None for rows in record.rows[1]), "row ids of a batch that a stock loader made"


def test_scores_need_the_loader_that_knows_the_rows(build: Any, learn: Any) -> None:
    class Replace(SupervisedPlugin):
        def before_eval_exp(self, strategy: Any, **kwargs: Any) -> None:
            strategy.dataloader = list(strategy.dataloader)

    with pytest.raises(RunError, match=r"^StreamScores: .*no row ids"):
        learn(build(first=[Replace()]), tasks=1)


def test_no_gradient_outlives_its_task(build: Any, learn: Any) -> None:
    class Gradients(SupervisedPlugin):
        def __init__(self) -> None:
            super().__init__()
            self.left: dict[str, set[str]] = {"end": set(), "start": set()}

        def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
            self.left["start"] |= {n for n, p in strategy.model.named_parameters() if p.grad is not None}

        def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
            self.left["end"] |= {n for n, p in strategy.model.named_parameters() if p.grad is not None}

    gradients = Gradients()
    learn(build(last=[gradients]), tasks=2)
    assert gradients.left["end"], "training leaves gradients"
    assert gradients.left["start"] == set()


# --- training and evaluation mode


class Modes:
    def __init__(self) -> None:
        self.training: set[bool] = set()
        self.evaluating: set[bool] = set()
        self.steps: set[int] = set()

    def after_forward(self, strategy: Any, **kwargs: Any) -> None:
        self.training |= {module.training for module in strategy.model.modules()}
        self.steps.add(strategy.position.task)

    def after_eval_forward(self, strategy: Any, **kwargs: Any) -> None:
        self.evaluating |= {module.training for module in strategy.model.modules()}


@pytest.mark.parametrize("spec", ["finetune", "lwf+er", "joint"])
def test_every_task_trains_in_train_mode_and_is_scored_in_eval_mode(build: Any, learn: Any, spec: str) -> None:
    modes = Modes()
    learn(build(spec, last=[modes]))
    assert (modes.steps, modes.training, modes.evaluating) == ({0, 1, 2}, {True}, {False})


def test_a_plugin_that_ends_a_task_in_eval_mode_does_not_silence_the_next(build: Any) -> None:
    class Rest(SupervisedPlugin):
        def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
            strategy.model.eval()

    modes = Modes()
    template = build(last=[Rest(), modes])
    template.train(template.benchmark.train_stream, eval_streams=[])
    assert (modes.steps, modes.training) == ({0, 1, 2}, {True})


# --- set-up of a task


def test_a_plugin_that_freezes_parameters_gets_an_optimiser_without_them(build: Any, learn: Any) -> None:
    class Freeze(SupervisedPlugin):
        def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
            strategy.model.backbone.requires_grad_(False)

        def before_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
            held = {id(p) for group in strategy.optimizer.param_groups for p in group["params"]}
            assert held == {id(p) for p in strategy.model.head.parameters()}

    template = build(last=[Freeze()])
    stem = template.model.backbone.stem[0].weight.detach().clone()
    learn(template)
    assert torch.equal(template.model.backbone.stem[0].weight, stem)


def test_joint_starts_every_task_from_the_same_initial_weights(build: Any, learn: Any) -> None:
    class Start(SupervisedPlugin):
        def __init__(self) -> None:
            self.weights: list[dict[str, torch.Tensor]] = []

        def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
            self.weights.append({key: value.clone() for key, value in strategy.model.state_dict().items()})

    start = Start()
    learn(build("joint", last=[start]))
    fresh = build_model(ModelSection(), 0)
    for weights, seen in zip(start.weights, (4, 8, 10), strict=True):
        fresh.head.grow(seen)
        assert all(torch.equal(weights[key], value) for key, value in fresh.state_dict().items())


def test_empty_tasks_of_a_derived_plan_are_passed_over(build: Any, learn: Any) -> None:
    class Tasks(SupervisedPlugin):
        seen: ClassVar[list[int]] = []

        def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
            self.seen.append(strategy.position.task)

    template = learn(build("joint", options={"tasks": "last"}, last=[Tasks()]))
    assert Tasks.seen == [2]
    assert template.model.head.n_classes == 10
