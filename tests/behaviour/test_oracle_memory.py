"""Which labels a memory stores: what the stream showed, or the truth for the oracle of KRT's table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from clsim.running.assembly import training_plan
from clsim.scenario import Scenario, load_scenario
from clsim.training.composition import Composition
from clsim.training.memory.replay import Replay

ORACLE = {"memory.labels": "oracle"}
STREAMS: dict[str, dict[str, Any]] = {
    "overlap": {},
    "disjoint": {"stream.assignment.disjoint": "random"},
    "keep": {"labels.visible.keep": 0.5},
    "single-positive": {"labels.visible": "single-positive"},
    "noise": {"labels.noise.false_negative": 0.3, "labels.noise.false_positive": 0.1},
    "validation": {"dataset.validation": 0.3, "evaluation.on": "validation"},
}
every_stream = pytest.mark.parametrize("stream", STREAMS.values(), ids=list(STREAMS))


@pytest.fixture
def scenario(tiny_overrides: dict[str, object]) -> Any:
    """Loads the scenario the `build` fixture trains on, to look the truth up."""

    def load(stream: dict[str, Any]) -> Scenario:
        return load_scenario("digits-b0c2", tiny_overrides | stream)

    return load


def memory_of(template: Any) -> Any:
    return next(plugin for plugin in template.plugins if isinstance(plugin, Replay)).memory


def samples(scenario: Scenario) -> np.ndarray:
    return np.concatenate([task.samples for task in scenario.plan().tasks])


@every_stream
@pytest.mark.parametrize("spec_options", [{}, {"selection": "reservoir"}, {"replay": "concat"}], ids=str)
def test_as_seen_stores_exactly_what_the_stream_showed(build: Any, learn: Any, stream: Any, spec_options: Any) -> None:
    template = learn(build("er", options=spec_options, overrides=stream))
    memory = memory_of(template)
    shown = template.benchmark.train_rows.targets(memory.rows).numpy()
    assert len(memory) > 0
    assert (memory.labels == -1).any()
    assert np.array_equal(memory.labels, shown)


@every_stream
def test_oracle_stores_the_truth_of_every_class(build: Any, learn: Any, scenario: Any, stream: Any) -> None:
    memory = memory_of(learn(build("er", overrides=stream | ORACLE)))
    world = scenario(stream)
    assert len(memory) > 0
    assert np.array_equal(memory.labels, world.truth()[samples(world)[memory.rows]])


@every_stream
def test_oracle_shows_no_more_in_the_tasks_own_batches(build: Any, learn: Any, stream: Any) -> None:
    class Own:
        def __init__(self) -> None:
            self.batches: list[tuple[torch.Tensor, torch.Tensor]] = []

        def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
            self.batches.append((strategy.rows.clone(), strategy.mb_y.clone()))

    oracle, honest = Own(), Own()
    learn(build("er", overrides=stream | ORACLE, first=[oracle]))
    learn(build("er", overrides=stream, first=[honest]))
    for (rows, y), (same_rows, same_y) in zip(oracle.batches, honest.batches, strict=True):
        assert torch.equal(rows, same_rows)
        assert torch.equal(y, same_y)


def test_oracle_begins_to_matter_with_the_second_task(build: Any, learn: Any, same_weights: Any) -> None:
    oracle, honest = build("er", overrides=ORACLE), build("er")
    assert same_weights(learn(oracle, tasks=1), learn(honest, tasks=1))
    assert not same_weights(learn(oracle, tasks=2), learn(honest, tasks=2))


def test_oracle_changes_nothing_for_a_method_without_memory(build: Any, learn: Any, same_weights: Any) -> None:
    assert same_weights(learn(build("lwf", overrides=ORACLE)), learn(build("lwf")))


def test_a_replayed_row_comes_with_the_truth_under_oracle(build: Any, learn: Any, scenario: Any) -> None:
    class Replayed:
        def __init__(self) -> None:
            self.rows: list[torch.Tensor] = []
            self.y: list[torch.Tensor] = []

        def before_backward(self, strategy: Any, **kwargs: Any) -> None:
            self.rows.append(strategy.rows[strategy.replayed])
            self.y.append(strategy.mb_y[strategy.replayed])

    seen = Replayed()
    learn(build("er", overrides=ORACLE, last=[seen]))
    world, rows = scenario({}), torch.cat(seen.rows).numpy()
    assert len(rows) > 50
    assert np.array_equal(torch.cat(seen.y).numpy(), world.truth()[samples(world)[rows]])


def test_oracle_trains_on_a_derived_plan_of_the_same_family(scenario: Any) -> None:
    honest, oracle = scenario({}), scenario(ORACLE)
    plan = training_plan(oracle, Composition("er"))
    assert oracle.plan().sha256 == honest.plan().sha256
    assert plan.derived_from == plan.family == honest.plan().sha256
    assert plan.sha256 != honest.plan().sha256
