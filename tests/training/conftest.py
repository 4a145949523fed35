"""Real templates on a stream of three tiny tasks (4, 4 and 2 classes): one takes well under a second to train."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import pytest
import torch
from avalanche.logging import BaseLogger

from clsim.evaluation.history import History
from clsim.experiment.execution import build_template, training_plan
from clsim.scenario import Scenario, load_scenario
from clsim.training.composition import Composition
from clsim.training.template import MultiLabelTemplate

torch.set_num_threads(1)

OVERRIDES = {
    "dataset.train": 60,
    "dataset.test": 40,
    "stream.increment": 4,
    "training.epochs": 2,
    "training.batch_size": 16,
    "training.model.image_size": 28,
    "memory.budget.per_class": 3,
    "threads": 1,
}


class Silent(BaseLogger):
    """Logs nothing; without a logger Avalanche warns."""


Build = Callable[..., MultiLabelTemplate]


@cache
def _scenario(overrides: str) -> Scenario:
    """The scenario under overrides given as JSON, which unlike a dict can be remembered."""
    return load_scenario("digits-b0c2", OVERRIDES | json.loads(overrides))


@pytest.fixture
def build() -> Build:
    """Makes the template of a strategy, as a run does; `first` and `last` are more plugins around the strategy's."""

    def make(
        spec: str = "finetune",
        *,
        seed: int = 0,
        options: Mapping[str, Any] | None = None,
        overrides: Mapping[str, Any] | None = None,
        first: Sequence[Any] = (),
        last: Sequence[Any] = (),
    ) -> MultiLabelTemplate:
        scenario = _scenario(json.dumps(dict(overrides or {})))
        composition = Composition(spec, options)
        plan = training_plan(scenario, composition)
        template = build_template(
            scenario,
            composition,
            plan,
            seed=seed,
            device="cpu",
            history=History(plan),
            loggers=[Silent()],
            row_truth=scenario.truth()[plan.row_samples],
        )
        template.plugins = [*first, *template.plugins, *last]
        return template

    return make


@pytest.fixture
def learn() -> Callable[..., MultiLabelTemplate]:
    """Trains a template through the stream, or through its first `tasks`, and returns it."""

    def run(template: MultiLabelTemplate, tasks: int | None = None) -> MultiLabelTemplate:
        benchmark = template.benchmark
        template.learn(benchmark.train_stream[:tasks], benchmark.evaluation_stream)
        return template

    return run


class _NewRows:
    """Row ids of the new rows of each batch by (task, epoch, step)."""

    def __init__(self) -> None:
        self.rows: dict[tuple[int, int, int], list[int]] = {}

    def after_forward(self, strategy: Any, **kwargs: Any) -> None:
        at = strategy.position
        self.rows[at.task, at.epoch, at.step] = strategy.mbatch[2][~strategy.replayed].tolist()


@pytest.fixture
def new_rows(build: Build, learn: Any) -> Callable[..., dict[tuple[int, int, int], list[int]]]:
    """Trains a strategy and returns the ids of the new rows it met, by (task, epoch, step)."""

    def run(spec: str = "finetune", **settings: Any) -> dict[tuple[int, int, int], list[int]]:
        record = _NewRows()
        learn(build(spec, last=[record], **settings))
        return record.rows

    return run


@pytest.fixture
def same_weights() -> Callable[[Any, Any], bool]:
    """Whether two templates hold equal weights and buffers, to the last bit."""

    def same(one: MultiLabelTemplate, other: MultiLabelTemplate) -> bool:
        a, b = one.model.state_dict(), other.model.state_dict()
        return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)

    return same


@pytest.fixture
def through_file() -> Callable[[Any], Any]:
    """A state as it comes back from a file that may hold tensors and plain values, and runs no code."""

    def write_and_read(state: Any) -> Any:
        file = io.BytesIO()
        torch.save(copy.deepcopy(state), file)
        file.seek(0)
        return torch.load(file, weights_only=True)

    return write_and_read
