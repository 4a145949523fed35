"""The control `er+identity`: what follows from recognising photographs is exactly the truth of an overlap stream."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import clsim
from clsim.errors import StrategyError
from clsim.running.scoring.hand_in import HandIn
from clsim.scenario import Scenario, load_scenario
from clsim.training.memory.replay import Replay
from clsim.training.memory.store import Memory


class BeforeSteps:
    """Copies of the memory's labels as a task's first step finds them."""

    def __init__(self) -> None:
        self.labels: list[np.ndarray] = []

    def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        if strategy.position.epoch == strategy.position.step == 0:
            self.labels.append(memory_of(strategy).labels.copy())


def memory_of(template: Any) -> Memory:
    return next(plugin for plugin in template.plugins if isinstance(plugin, Replay)).memory


def test_all_labels_of_seen_classes_are_true_and_others_unknown(build: Any, learn: Any) -> None:
    template = build("er+identity")
    desk = HandIn.of(template).scorer.desk
    plan, truth = desk.history.plan, desk.row_truth
    for done, task in enumerate(plan.tasks, start=1):
        learn(template, tasks=done)
        memory, seen = memory_of(template), task.classes[1]
        np.testing.assert_array_equal(memory.labels[:, :seen], truth[memory.rows, :seen])
        assert (memory.labels[:, seen:] == -1).all()
    assert (memory.provenance > 0).any()


def test_it_knows_while_the_task_is_trained_and_not_before(build: Any, learn: Any) -> None:
    watch = BeforeSteps()
    template = learn(build("er+identity", last=[watch]))
    first, second = watch.labels[1], watch.labels[2]
    assert (first[:, :8] >= 0).all()
    assert (first[:, 8:] == -1).all()
    assert (second >= 0).all()
    assert len(template.evaluator.metrics)


def test_given_labels_stay(build: Any, learn: Any) -> None:
    template = learn(build("er+identity", overrides={"labels.noise.false_negative": 0.4}))
    memory = memory_of(template)
    given = memory.provenance == 0
    stored = template.benchmark.train_rows.memory_targets(memory.rows)
    np.testing.assert_array_equal(memory.labels[given], stored[given])
    np.testing.assert_array_equal(given, stored >= 0)


def test_a_method_is_not_told_which_photograph_a_row_shows(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from clsim.training.composition import Composition

    told = []
    plugins = Composition.plugins
    monkeypatch.setattr(Composition, "plugins", lambda self, context: told.append(context) or plugins(self, context))
    build("rebll")
    build("er+identity")
    method, control = told
    assert method.samples is None
    assert control.samples is not None


def test_its_result_says_what_it_knows(tiny_overrides: dict[str, Any], tmp_path: Any) -> None:
    run = clsim.run("digits-b0c2", "er+identity", overrides=tiny_overrides, out=tmp_path)
    assert run.result["control"] == "knows which rows show the same photograph"
    assert run.result["memory"]["labels"]["FNR"][-1] == run.result["memory"]["labels"]["FPR"][-1] == 0


BLURRY = {"stream.increment": None, "stream.blurry": {"tasks": 3, "disjoint": 0.5, "blurred": 0.1}}
DOMAINS = {"stream.increment": None, "stream.domains": "crowding"}


@pytest.mark.parametrize("stream", [{"stream.assignment.disjoint": "random"}, BLURRY, DOMAINS])
def test_a_stream_of_which_an_image_comes_once_is_refused(stream: dict[str, Any], tmp_path: Any) -> None:
    scenario: Scenario = load_scenario("digits-b0c2", stream)
    with pytest.raises(StrategyError, match=r"identity needs stream\.assignment: overlap"):
        clsim.run(scenario, "er+identity", out=tmp_path)
    assert not list(tmp_path.iterdir())
