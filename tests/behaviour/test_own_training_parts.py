"""Losses, samplers, selections, schedules and optimisers of torch and of a user's file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from clsim.errors import ClsimError
from clsim.model_names import OPTIMIZERS, SCHEDULERS
from clsim.parts import KINDS, PartError
from clsim.scenario.plan.task_classes import TaskClasses
from clsim.scenario.training_schema import OptimizerSection, ScheduleSection, TrainingSection
from clsim.training.losses.binary import masked_bce
from clsim.training.losses.class_counts import CountedLoss
from clsim.training.losses.criterion import base_loss
from clsim.training.memory.selection import make_selection
from clsim.training.memory.store import Budget, Memory
from clsim.training.optimization import build_optimizer, build_schedule
from clsim.training.sampling import make_sampler

FILE = """
import numpy as np
import torch
from torch.optim.lr_scheduler import LambdaLR


def loss(logits, targets, scale=1.0):
    assert logits.shape == targets.shape
    return scale * (logits - targets).where(targets >= 0, 0.0).square().sum() / len(logits)


def counted(logits, targets, counts, power=1.0):
    return (logits.sum(0) * counts.positives[: logits.shape[1]].float() ** power).sum()


class Loss:
    def __init__(self, scale: float = 2.0):
        self.scale = scale

    def __call__(self, logits, targets):
        return loss(logits, targets, self.scale)


def of_rows(logits, targets):
    return logits.sum(1)


def whole(logits, targets):
    return (logits > 0).sum()


def detached(logits, targets):
    return logits.detach().sum()


def number(logits, targets):
    return 1.0


def reverse(member, seed, task, epoch, *, skip=0):
    return np.maximum(np.arange(len(member))[::-1] - skip, 0)


def short(member, seed, task, epoch):
    return np.arange(len(member) - 1)


def far(member, seed, task, epoch):
    return np.arange(len(member)) + 1


def floats(member, seed, task, epoch):
    return np.ones(len(member))


def last(labels, seed, task, count, *, offset=0):
    return np.roll(np.arange(len(labels))[::-1], offset)


def longest(labels, seed, task, count, features):
    return np.argsort(-np.linalg.norm(features, axis=1), kind="stable")


def twice(labels, seed, task, count):
    return np.zeros(len(labels), int)


def few(labels, seed, task, count):
    return np.arange(1)


class Newest:
    needs_features = False

    def choose(self, memory, task, features=None):
        return np.arange(len(memory))[-memory.budget.of_all(memory.tasks[task].stop) :]


class Greedy:
    def choose(self, memory, task, features=None):
        return np.arange(len(memory))


def half(optimizer, total_steps, *, factor=0.5):
    return LambdaLR(optimizer, lambda step: factor if 2 * step >= total_steps else 1.0)


def no_schedule(optimizer):
    return optimizer


class Plain(torch.optim.SGD):
    def __init__(self, params, lr, nesterov=False):
        super().__init__(params, lr=lr)
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "own.py"
    path.write_text(FILE)
    return path


def section(**keys: Any) -> TrainingSection:
    return TrainingSection.model_validate({"epochs": 1, "optimizer": {"lr": 0.1}, **keys})


def loss_of(own: Path, name: str, **options: Any) -> Any:
    return base_loss(section(loss={"name": f"{own}:{name}", "options": options}).loss)


LOGITS = torch.tensor([[1.0, -2.0], [0.5, 3.0]], requires_grad=True)
TARGETS = torch.tensor([[1.0, -1.0, 0.0], [0.0, 1.0, 0.0]])


# --- losses


@pytest.mark.parametrize(("name", "options", "factor"), [("loss", {}, 1), ("loss", {"scale": 3.0}, 3), ("Loss", {}, 2)])
def test_a_loss_sees_the_columns_of_the_logits(own: Path, name: str, options: dict[str, Any], factor: int) -> None:
    assert float(loss_of(own, name, **options)(LOGITS, TARGETS)) == pytest.approx(factor * (0.25 + 4.0) / 2)


def test_a_loss_with_a_parameter_counts_gets_them(own: Path) -> None:
    loss = loss_of(own, "counted", power=2.0)
    assert isinstance(loss, CountedLoss)
    loss.load_state_dict({"counts": {"positives": torch.tensor([1.0, 2.0, 0.0]), "known": torch.ones(3)}})
    assert float(loss(LOGITS, TARGETS)) == pytest.approx(1.5 + 4 * 1.0)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("of_rows", r"float32 \[2\]"),
        ("whole", r"int64 \[\]"),
        ("detached", "a number without a gradient"),
        ("number", "float"),
    ],
)
def test_a_loss_that_is_no_scalar_is_one_line(own: Path, name: str, what: str) -> None:
    expected = rf"^training\.loss: .*own\.py:{name} gives {what}, expected a float scalar made of the logits$"
    with pytest.raises(ClsimError, match=expected):
        loss_of(own, name)(LOGITS, TARGETS)


def test_shipped_losses_are_what_they_were() -> None:
    assert torch.equal(base_loss(section().loss)(LOGITS, TARGETS), masked_bce(LOGITS, TARGETS))
    counted = {
        name for name in KINDS["loss"].shipped if isinstance(base_loss(section(loss={"name": name}).loss), CountedLoss)
    }
    assert counted == {"db", "logit-adjusted", "class-balanced", "rldam", "logit-adjusted-ce"}


# --- samplers


def test_a_sampler_draws_positions(own: Path) -> None:
    sampler = make_sampler(section(sampler={"name": f"{own}:reverse", "options": {"skip": 1}}).sampler)
    assert sampler is not None
    assert sampler(np.ones((4, 1), bool), 0, 0, 0).tolist() == [2, 1, 0, 0]
    assert make_sampler("shuffled") is None


@pytest.mark.parametrize(
    ("name", "what"),
    [("short", r"int64 \[3\]"), ("far", "positions from 1 to 4"), ("floats", r"float64 \[4\]")],
)
def test_a_sampler_of_other_draws_is_one_line(own: Path, name: str, what: str) -> None:
    sampler = make_sampler(f"{own}:{name}")
    assert sampler is not None
    with pytest.raises(ClsimError, match=rf"gives {what}, expected 4 whole numbers, 0 to 3$"):
        sampler(np.ones((4, 1), bool), 0, 0, 0)


# --- selections


def kept(own: Path, name: str, **options: Any) -> list[int]:
    selection = make_selection(f"{own}:{name}", options, "strategy.er.selection")
    memory = Memory(Budget(per_class=2), selection, (TaskClasses(0, 1), TaskClasses(1, 2)), 0)
    for task in (0, 1):
        labels = np.full((6, 2), -1, np.float32)
        labels[:, task] = 1
        features = np.arange(12, dtype=np.float32).reshape(6, 2)
        memory.update(task, 10 * task + np.arange(6), labels, features if selection.needs_features else None)
    return memory.rows.tolist()


def test_a_selection_is_a_function_that_ranks_or_a_class_that_chooses(own: Path) -> None:
    assert kept(own, "last") == [5, 4, 15, 14]
    assert kept(own, "last", offset=1) == [0, 5, 10, 15]
    assert kept(own, "longest") == [5, 4, 15, 14]
    assert kept(own, "Newest") == [12, 13, 14, 15]


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("twice", "gives a position twice, expected at least 2 whole numbers, 0 to 5, each once"),
        ("few", "gives 1 positions, expected at least 2 whole numbers"),
        ("Greedy", "keeps 6 rows, the budget holds 2"),
    ],
)
def test_a_selection_of_other_rows_is_one_line(own: Path, name: str, what: str) -> None:
    with pytest.raises(ClsimError, match=rf"^selection .*own\.py:{name}: {what}"):
        kept(own, name)


# --- optimisers and schedules


def test_the_names_are_torchs_own() -> None:
    left_out = {"Optimizer", "LBFGS", "SparseAdam"}
    assert set(OPTIMIZERS) == {name for name, kind in vars(torch.optim).items() if isinstance(kind, type)} - left_out
    made_of_others = {"LRScheduler", "LambdaLR", "MultiplicativeLR", "SequentialLR", "ChainedScheduler"}
    module = torch.optim.lr_scheduler
    theirs = {name for name in module.__all__ if issubclass(getattr(module, name), module.LRScheduler)}
    assert set(SCHEDULERS) == theirs - made_of_others - {"ReduceLROnPlateau"}


def optimizer_of(**keys: Any) -> torch.optim.Optimizer:
    return build_optimizer(OptimizerSection(lr=0.1, **keys), nn.Linear(2, 2, bias=False), first_task=True)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_of_torch_steps(name: str) -> None:
    optimizer = optimizer_of(name=name)
    (weight,) = optimizer.param_groups[0]["params"]
    before = weight.detach().clone()
    weight.square().sum().backward()
    optimizer.step()
    assert not torch.equal(weight, before)


def test_options_reach_the_optimizer(own: Path) -> None:
    assert optimizer_of(name="RMSprop", options={"alpha": 0.5}).defaults["alpha"] == 0.5
    assert optimizer_of(options={"betas": [0.8, 0.9], "fused": False}).defaults["betas"] == (0.8, 0.9)
    assert isinstance(optimizer_of(name=f"{own}:Plain"), torch.optim.SGD)


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        (
            {"name": "RMSprop", "options": {"alhpa": 1}},
            r"optimizer\.options\.alhpa: unknown option, did you mean 'alpha'",
        ),
        ({"name": "Rprop", "weight_decay": 0.1}, r"optimizer\.weight_decay: Rprop knows none; allowed: 0$"),
        ({"name": "RMSprop", "options": {"alpha": -1.0}}, r"optimizer: RMSprop cannot be made: ValueError: "),
    ],
)
def test_a_wrong_optimizer_is_one_line(keys: dict[str, Any], text: str) -> None:
    with pytest.raises(ClsimError, match=rf"^training\.{text}"):
        optimizer_of(**keys)


def rates(choice: Any, steps: int = 8) -> list[float]:
    optimizer = optimizer_of()
    schedule = build_schedule(choice, optimizer, steps)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


REQUIRED = {
    "StepLR": {"step_size": 2},
    "MultiStepLR": {"milestones": [2, 4]},
    "ExponentialLR": {"gamma": 0.9},
    "CyclicLR": {"base_lr": 0.01, "cycle_momentum": False},
    "CosineAnnealingWarmRestarts": {"T_0": 4},
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_schedule_of_torch_changes_the_rate(name: str) -> None:
    assert len(set(rates(ScheduleSection(name=name, options=REQUIRED.get(name, {}))))) > 1


def test_a_schedule_knows_the_steps_of_the_task(own: Path) -> None:
    assert rates("CosineAnnealingLR")[4] == pytest.approx(0.05)
    assert rates(ScheduleSection(name=f"{own}:half", options={"factor": 0.1})) == pytest.approx([0.1] * 4 + [0.01] * 4)


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ("StepLR", r"schedule\.options\.step_size: required option is missing"),
        (
            ScheduleSection(name="ExponentialLR", options={"gama": 1}),
            r"schedule\.options\.gama: unknown option, did you",
        ),
    ],
)
def test_a_wrong_schedule_is_one_line(choice: Any, text: str) -> None:
    with pytest.raises(PartError, match=rf"^training\.{text}"):
        build_schedule(choice, optimizer_of(), 4)


def test_what_is_no_schedule_is_one_line(own: Path) -> None:
    with pytest.raises(ClsimError, match=r"own\.py:no_schedule makes AdamW, expected an LRScheduler without metric$"):
        build_schedule(f"{own}:no_schedule", optimizer_of(), 4)
