"""The contract of plugins: what mypy reports, which events a plugin gets, here and in Avalanche's own loop."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from avalanche.core import SupervisedPlugin
from avalanche.logging import BaseLogger
from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.templates import SupervisedTemplate
from torch import nn

from clsim.errors import RunError, StrategyError
from clsim.scenario import Scenario
from clsim.training.events import callbacks, provides
from clsim.training.learner import Experience, Learner
from clsim.training.losses.binary import masked_bce
from clsim.training.plugin import Plugin

ROOT = Path(__file__).parents[2]
EVENTS = [name for name in dir(SupervisedPlugin) if name.startswith(("before_", "after_"))]
OWN_EVENTS = ["finish_model", "memory_updated"]


class Recorder(Plugin):
    """Records every event, also those of clsim."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def state_dict(self) -> dict[str, Any]:
        return {}


for _event in [*EVENTS, *OWN_EVENTS]:
    setattr(Recorder, _event, lambda self, learner, _event=_event, **kwargs: self.seen.append(_event))


class Empty(Plugin):
    """Overrides nothing."""


@pytest.mark.slow
def test_mypy_reports_each_deliberate_mistake(tmp_path: Path) -> None:
    file = Path(__file__).with_name("mistakes.py")
    lint = re.search(r"/mypy (.*)", (ROOT / "Makefile").read_text())
    assert lint is not None
    assert not any(word.startswith("-") for word in lint[1].split())  # all that lint sets is in pyproject.toml
    example = tmp_path / "example.py"  # which must be right
    example.write_text((ROOT / "docs" / "kit.md").read_text().split("```python\n")[1].partition("```")[0])
    words = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path), "--no-error-summary", str(file), str(example)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    reported = re.findall(r"^tests/training/mistakes\.py:(\d+): error: .*\[([\w-]+)\]$", done.stdout, re.MULTILINE)
    lines = enumerate(file.read_text().splitlines(), 1)
    marked = [(str(number), code) for number, line in lines for code in re.findall(r"# wrong: ([\w-]+)", line)]
    assert len(marked) > 25
    assert sorted(set(reported)) == sorted(marked), done.stdout + done.stderr
    assert "example.py" not in done.stdout


def test_the_base_declares_every_event() -> None:
    assert [name for name in [*EVENTS, *OWN_EVENTS] if name not in vars(Plugin)] == []


def test_every_event_is_called_in_a_run(build: Any, learn: Any) -> None:
    recorder = Recorder()
    learn(build("er", last=[recorder]), tasks=1)
    assert set(recorder.seen) == {*EVENTS, *OWN_EVENTS}
    at = recorder.seen.index
    assert at("finish_model") < at("memory_updated") < at("after_training_exp") < at("before_eval")


def test_events_that_do_nothing_are_left_out() -> None:
    plugins = [Empty(), Recorder()]
    for event in [*EVENTS, *OWN_EVENTS]:
        assert len(callbacks(plugins, event)) == 1
    assert not any(provides(plugins[0], name) for name in ("report", "state_dict", "load_state_dict", "rebuild_model"))
    assert provides(plugins[1], "state_dict")


def test_a_plugin_without_state_is_told_by_name(build: Any, learn: Any) -> None:
    with pytest.raises(RunError, match="plugin Empty has no state_dict"):
        learn(build(last=[Empty()]), tasks=1).state_dict()
    with pytest.raises(RunError, match="plugin Recorder has no load_state_dict"):
        Recorder().load_state_dict({"rows": 3})
    Recorder().load_state_dict({})


def test_a_misspelt_event_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(StrategyError, match=r"Typo.before_backwards: there is no such event, did you mean"):

        class Typo(Plugin):
            def before_backwards(self, learner: Learner, **kwargs: Any) -> None: ...


def test_a_mixin_may_bring_events_of_its_own() -> None:
    class MetaLearning:
        def before_inner_updates(self, strategy: Any, **kwargs: Any) -> None: ...

    class Inner(Plugin, MetaLearning):
        def before_inner_updates(self, strategy: Any, **kwargs: Any) -> None: ...

    assert provides(Inner(), "before_inner_updates")


def test_in_a_stock_loop_the_same_plugin_gets_its_events(tiny: Scenario) -> None:
    recorder, benchmark = Recorder(), tiny.benchmark()
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 28 * 28, 10))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # Avalanche's word for a plugin that does not fit
        template = SupervisedTemplate(
            model=model,
            optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
            criterion=masked_bce,
            train_mb_size=16,
            plugins=[recorder, Empty()],
            evaluator=EvaluationPlugin(loggers=[BaseLogger()]),
        )
    template.train(benchmark.train_stream[0], eval_streams=[], shuffle=True)  # an argument that events get, too
    template.eval(benchmark.test_stream[:1])
    assert set(recorder.seen) == set(EVENTS)


def test_a_learner_leads_to_no_truth() -> None:
    names = {name for kind in (Learner, Experience) for name in (*dir(kind), *kind.__annotations__)}
    inside = {
        "benchmark",
        "evaluator",
        "plugins",
        "scenario",
        "origin_stream",
        "eval",
        "learn",
        "first_task",
        "history",
    }
    assert not names & inside


def test_the_template_has_all_that_a_learner_promises(build: Any, learn: Any) -> None:
    class Look(Plugin):
        def __init__(self) -> None:
            super().__init__()
            self.missing: list[str] = []

        def before_update(self, learner: Learner, **kwargs: Any) -> None:
            promised = [name for name in (*dir(Learner), *Learner.__annotations__) if not name.startswith("_")]
            self.missing += [name for name in promised if not hasattr(learner, name)]
            assert learner.rows.shape == learner.replayed.shape == learner.mb_y.shape[:1]
            assert learner.steps_per_epoch == len(learner.loader)
            assert learner.position.place[0] == learner.experience.current_experience

    look = Look()
    learn(build("er", last=[look]))
    assert look.missing == []
