"""The optimiser of each task knows every trainable parameter, and the schedule spans the task."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from clsim.models.build import build_model
from clsim.models.low_rank import Factors, decomposable, decompose, low_rank_parts
from clsim.scenario.training_schema import ModelSection, OptimizerSection
from clsim.training.optimization import build_optimizer, build_schedule


class Steps:
    """Records, per task, what the optimiser holds and does."""

    def __init__(self) -> None:
        self.rates: dict[int, list[float]] = {}
        self.groups: list[dict[str, Any]] = []

    def before_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
        held = [id(p) for group in strategy.optimizer.param_groups for p in group["params"]]
        wanted = {id(p) for p in strategy.model.parameters() if p.requires_grad}
        self.groups.append({"held": held, "wanted": wanted, "head": strategy.model.head.weight})

    def before_update(self, strategy: Any, **kwargs: Any) -> None:
        self.rates.setdefault(strategy.position.task, []).append(strategy.optimizer.param_groups[0]["lr"])


def section(**options: Any) -> OptimizerSection:
    return OptimizerSection(**{"lr": 0.1, **options})


def trajectory(schedule: str, total_steps: int, **options: Any) -> list[dict[str, Any]]:
    """The first parameter group at each step."""
    optimizer = build_optimizer(section(**options), nn.Linear(2, 2), first_task=True)
    scheduler = build_schedule(schedule, optimizer, total_steps)
    seen = []
    for _ in range(total_steps):
        seen.append({key: value for key, value in optimizer.param_groups[0].items() if key != "params"})
        optimizer.step()
        scheduler.step()
    return seen


def test_after_every_growth_each_trainable_parameter_is_held_exactly_once(build: Any, learn: Any) -> None:
    steps = Steps()
    learn(build(last=[steps]))
    assert len({id(group["head"]) for group in steps.groups}) == 3, "the head should have grown twice"
    for group in steps.groups:
        assert len(group["held"]) == len(set(group["held"]))
        assert set(group["held"]) == group["wanted"]


def test_frozen_parameters_are_not_held() -> None:
    model = build_model(ModelSection(), 0)
    model.head.grow(2)
    model.backbone.requires_grad_(False)
    optimizer = build_optimizer(section(), model, first_task=True)
    held = [p for group in optimizer.param_groups for p in group["params"]]
    assert {id(p) for p in held} == {id(model.head.weight), id(model.head.bias)}


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_weight_decay_acts_on_matrices_and_kernels_only(name: str) -> None:
    optimizer = build_optimizer(section(name=name, weight_decay=0.5), build_model(ModelSection(), 0), first_task=True)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            assert group["weight_decay"] == (0.5 if parameter.ndim > 1 else 0.0)


def test_adamw_moves_a_head_row_without_targets_by_weight_decay_alone(build: Any, learn: Any) -> None:
    decay = 0.3
    steps = Steps()
    template = build(overrides={"training.optimizer.weight_decay": decay}, last=[steps])
    learn(template, tasks=1)
    weight, bias = template.model.head.weight.detach().clone(), template.model.head.bias.detach().clone()
    learn(template, tasks=2)
    for rate in steps.rates[1]:
        weight *= 1 - rate * decay
    assert torch.equal(template.model.head.weight[:4], weight)
    assert torch.equal(template.model.head.bias[:4], bias)
    assert template.model.head.bias[4:].any(), "the new rows should have been trained"


def test_one_cycle_is_torchs_own_with_a_fifth_of_rising_in_each_task(build: Any, learn: Any) -> None:
    steps = Steps()
    overrides = {"training.optimizer.lr": 0.01, "training.optimizer.later_lr": 0.004}
    template = learn(build(overrides=overrides, last=[steps]))
    for task, experience in enumerate(template.benchmark.train_stream):
        total = 2 * -(-len(experience.dataset) // 16)
        peak = 0.004 if task else 0.01
        optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=peak)
        scheduler = OneCycleLR(optimizer, max_lr=peak, total_steps=total, pct_start=0.2)
        expected = []
        for _ in range(total):
            expected.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        assert steps.rates[task] == pytest.approx(expected, rel=1e-9)


def test_the_constant_schedule_stays_at_the_rate_of_the_task(build: Any, learn: Any) -> None:
    steps = Steps()
    learn(build(overrides={"training.schedule": "constant", "training.optimizer.later_lr": 1e-4}, last=[steps]))
    assert [set(rates) for rates in steps.rates.values()] == [{3e-3}, {1e-4}, {1e-4}]


def test_joint_trains_every_task_at_the_first_rate_because_it_starts_afresh(build: Any, learn: Any) -> None:
    steps = Steps()
    overrides = {"training.schedule": "constant", "training.optimizer.later_lr": 1e-4}
    learn(build("joint", overrides=overrides, last=[steps]))
    assert [set(rates) for rates in steps.rates.values()] == [{3e-3}] * 3


def test_later_tasks_take_the_first_rate_when_no_other_is_given() -> None:
    for first_task in (True, False):
        assert build_optimizer(section(), nn.Linear(2, 2), first_task).param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize("total_steps", [1, 2, 3, 4, 5, 6, 10])
def test_a_task_of_few_steps_still_trains_at_a_rate_that_matters(total_steps: int) -> None:
    rates = [group["lr"] for group in trajectory("one-cycle", total_steps)]
    assert 0.05 < max(rates) <= 0.1


@pytest.mark.parametrize("schedule", ["one-cycle", "constant"])
def test_sgd_keeps_the_momentum_it_was_given(schedule: str) -> None:
    assert {group["momentum"] for group in trajectory(schedule, 8, name="sgd", momentum=0.5)} == {0.5}


def test_one_cycle_moves_adams_first_beta_against_the_rate() -> None:
    groups = trajectory("one-cycle", 20, name="adamw")
    highest = max(groups, key=lambda group: group["lr"])
    assert highest["betas"][0] == min(group["betas"][0] for group in groups) == pytest.approx(0.85)


@pytest.mark.parametrize(
    ("name", "kind"), [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)]
)
def test_the_optimiser_is_the_named_one(name: str, kind: type) -> None:
    assert type(build_optimizer(section(name=name), nn.Linear(2, 2), first_task=True)) is kind


def test_a_module_may_ask_for_another_rate_for_its_own_parameters() -> None:
    model = build_model(ModelSection(), 0)
    model.head.grow(2)
    decompose(model, decomposable(model)[0], Factors(lr_factor=5.0), seed=0)
    optimizer = build_optimizer(section(weight_decay=0.01), model, first_task=True)
    parts = {id(p) for part in low_rank_parts(model).values() for p in part.parameters()}
    assert [{id(p) in parts for p in group["params"]} for group in optimizer.param_groups] == [{False}, {False}, {True}]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.0, 0.01]
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.1, 0.5]
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters())
    schedule = build_schedule("one-cycle", optimizer, 10)
    rates = []
    for _ in range(10):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    assert max(rate[0] for rate in rates) == pytest.approx(0.1)
    assert all(rate[2] == pytest.approx(5 * rate[0]) for rate in rates)
