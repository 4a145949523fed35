"""One frozen copy of the model before the task, shared by all plugins of a run that use it."""

from __future__ import annotations

import io
from functools import partial
from typing import Any

import pytest
import torch
from avalanche.core import SupervisedPlugin

from clsim.models.build import build_model
from clsim.models.network import MultiLabelNet
from clsim.scenario.training_schema import ModelSection
from clsim.training.distillation import Distillation
from clsim.training.memory.relabelling import OnlineRelabelling
from clsim.training.snapshot import Snapshot


def file_size(state: Any) -> int:
    file = io.BytesIO()
    torch.save(state, file)
    return len(file.getvalue())


@pytest.mark.parametrize("spec", ["rebll", "or+akd+er", "or+er+lwf"])
def test_teacher_and_relabelling_share_one_copy(build: Any, learn: Any, spec: str) -> None:
    template = learn(build(spec), tasks=2)
    snapshots = [plugin for plugin in template.plugins if isinstance(plugin, Snapshot)]
    assert len(snapshots) == 1
    assert template.find_plugin(Distillation).snapshot is snapshots[0]
    assert template.find_plugin(OnlineRelabelling).snapshot is snapshots[0]
    held = [value for plugin in template.plugins for value in vars(plugin).values()]
    assert len({id(value) for value in held if isinstance(value, MultiLabelNet)}) == 1


@pytest.mark.parametrize(("spec", "networks"), [("rebll", 2), ("lwf", 2), ("akd", 2), ("er+or", 2), ("er", 1)])
def test_a_state_holds_the_model_and_at_most_one_more(build: Any, learn: Any, spec: str, networks: int) -> None:
    template = learn(build(spec), tasks=2)
    assert round(file_size(template.state_dict()) / file_size(template.model.state_dict())) == networks


def test_the_copy_is_the_model_before_the_task_whatever_else_a_task_end_does(build: Any, learn: Any) -> None:
    """A plugin behind all others that changes the model when a task ends changes what the next task compares with."""

    class Scale(SupervisedPlugin):
        def __init__(self) -> None:
            super().__init__()
            self.heads: list[torch.Tensor] = []

        def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
            strategy.model.head.weight.data *= 0.5
            self.heads.append(strategy.model.head.weight.detach().clone())

    scale = Scale()
    template = learn(build("lwf", last=[scale]), tasks=2)
    assert torch.equal(template.find_plugin(Snapshot).model.head.weight, scale.heads[0])


def loaded(n_classes: int | None) -> tuple[Snapshot, Snapshot]:
    """A snapshot of a model with `n_classes`, or an empty one, and another one loaded from its state."""
    snapshots = [Snapshot(partial(build_model, ModelSection(), seed)) for seed in (0, 1)]
    if n_classes is not None:
        snapshots[0].model = build_model(ModelSection(), 2).eval()
        snapshots[0].model.head.grow(n_classes)
    snapshots[1].load_state_dict(snapshots[0].state_dict())
    return snapshots[0], snapshots[1]


def test_a_loaded_copy_answers_as_the_saved_one() -> None:
    saved, other = loaded(n_classes=3)
    x = torch.randn(2, 3, 16, 16)
    assert saved.model is not None
    assert other.model is not None
    assert torch.equal(saved.model(x), other.model(x))
    assert not any(p.requires_grad for p in other.model.parameters())


def test_nothing_is_loaded_where_nothing_was_saved() -> None:
    assert loaded(n_classes=None)[1].model is None
