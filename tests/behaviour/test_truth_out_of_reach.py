"""Rule 1 against a method that reaches for the truth: a run that clsim starts gives it none, and says what it did."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clsim.errors import ClsimError, RunError
from clsim.running.execution import execute
from clsim.running.prepared_run import prepare
from clsim.running.run_spec import RunSpec
from clsim.scenario import Scenario, load_scenario
from tests.fixtures.logged import logged

SMALL = {"dataset.train": 51, "dataset.test": 31, "stream.increment": 5, "training.epochs": 1}
METHOD = '''
"""Reaches for the truth in every way it can think of, and goes on."""

import gc
import json
import os

import clsim
import clsim.evaluation.history
from clsim.kit import Plugin
from clsim.scenario import Scenario, StreamPlan, open_dataset


def labels_of(dataset):
    return set(dataset.store.targets(dataset.rows()).unique().tolist())


class Curious(clsim.Strategy):
    class Options(clsim.Strategy.Options):
        found: str
        folder: str

    def plugins(self, context):
        return [Reach(context, self.options)]


class Reach(Plugin):
    def __init__(self, context, options):
        super().__init__()
        self.context, self.options, self.answers = context, options, {}
        self.attempt("in plugins()", lambda: Scenario(context.config).truth())

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass

    def attempt(self, name, attack):
        try:
            self.answers[name] = repr(attack())
        except Exception as error:
            self.answers[name] = f"{type(error).__name__}: {error}"

    def after_training_exp(self, strategy, **kwargs):
        if strategy.position.task:
            return
        attempt, benchmark = self.attempt, strategy.benchmark
        attempt("test stream", lambda: benchmark.test_stream[-1].dataset.store.targets)
        attempt("own scenario", lambda: Scenario(self.context.config).truth())
        attempt("shipped scenario", lambda: clsim.load_scenario("digits-b0c2").plan().test_truth)
        attempt("data set", lambda: open_dataset("digits").labels("test"))
        attempt("later task", lambda: benchmark.train_stream[1].dataset[0])
        attempt("later targets", lambda: strategy.store.targets(benchmark.train_stream[1].dataset.rows()))
        attempt("later memory", lambda: strategy.store.memory_targets(benchmark.train_stream[1].dataset.rows()))
        attempt("evaluation labels", lambda: labels_of(benchmark.evaluation_stream[0].dataset))
        attempt("history", self.replace_history(strategy))
        attempt("stored plan", lambda: open(os.path.join(self.options.folder, "plan.json.gz"), "rb").read())
        plans = [one for one in gc.get_objects() if type(one) is StreamPlan and len(one.test_samples) == 31]
        attempt("plans in memory", lambda: [len(plans), any((plan.test_truth >= 0).any() for plan in plans)])
        with open(self.options.found, "w") as file:
            json.dump(self.answers, file)

    def replace_history(self, strategy):
        def replace():
            clsim.evaluation.history.History.add = lambda self, scores, task: self.seen_map.fill(100.0)
            return [name for metric in strategy.evaluator.metrics for name in vars(metric) if name == "history"]

        return replace
'''

Carry = Callable[..., Path]


def carry_out(folder: Path, strategy: str, overrides: dict[str, Any], options: dict[str, Any] | None = None) -> Path:
    """The folder of a prepared run; nothing of its scenario stays in this process."""
    prepare(folder, load_scenario("digits-b0c2", overrides), RunSpec(strategy, "run", 1, "cpu", options or {}), 1)
    return folder


@pytest.fixture(scope="module")
def small(tiny_overrides: dict[str, Any]) -> dict[str, Any]:
    return tiny_overrides | SMALL


@pytest.fixture(scope="module")
def honest(small: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of finetune, two tasks."""
    folder = carry_out(tmp_path_factory.mktemp("honest") / "run", "finetune", small)
    execute(folder)
    return folder


@pytest.fixture(scope="module")
def curious(small: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A finished run of the method above, and what it found."""
    home = tmp_path_factory.mktemp("curious")
    (home / "method.py").write_text(METHOD)
    from clsim.evaluation.history import History

    add = History.add
    options = {"found": str(home / "found.json"), "folder": str(home / "run")}
    try:
        execute(carry_out(home / "run", f"{home}/method.py:Curious", small, options))
    finally:
        History.add = add  # type: ignore[method-assign]
    return home / "run", json.loads((home / "found.json").read_text())


def test_no_way_leads_a_method_to_the_truth(curious: tuple[Path, dict[str, str]]) -> None:
    folder, answers = curious
    method = f"Sealed: {folder.parent}/method.py:"
    for name in ("in plugins()", "own scenario", "shipped scenario", "data set"):
        assert answers[name].startswith(method), name
        assert "is closed while a run trains: a method sees what its batches" in answers[name]
    assert answers["test stream"].startswith("AttributeError: a run has no test_stream")
    for name in ("later task", "later targets", "later memory"):
        assert answers[name].startswith(method), name
        assert "belongs to a task that has not begun; rows 0 to " in answers[name]
    assert answers["evaluation labels"] == "{-1.0}"
    assert answers["history"] == "[]"
    assert answers["stored plan"].startswith("FileNotFoundError")
    number, truth = json.loads(answers["plans in memory"].replace("False", "false").replace("True", "true"))
    assert number
    assert not truth


def test_what_it_replaced_here_changes_no_number(curious: tuple[Path, dict[str, str]], honest: Path) -> None:
    assert logged(curious[0]) == logged(honest)


def test_the_log_names_the_line_that_opened_a_plan(curious: tuple[Path, dict[str, str]], honest: Path) -> None:
    folder, _ = curious
    log = (folder / "run.log").read_text()
    assert f"opened {folder}/plan.json.gz, which holds labels or a plan, while the run trained" in log
    assert f"WARNING {folder.parent}/method.py:" in log
    assert "which holds labels" not in (honest / "run.log").read_text()


def test_outside_a_run_nothing_is_closed(tiny: Scenario) -> None:
    benchmark = tiny.benchmark()
    test = benchmark.test_stream[-1].dataset
    assert (test.store.targets(test.rows()) >= 0).any()
    assert set(np.unique(benchmark.train_rows.targets(tiny.plan().rows(2)).numpy())) == {-1.0, 0.0, 1.0}


# --- the process that scores


def children() -> set[int]:
    """Processes that this one has."""
    return {int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}


def test_a_run_whose_scoring_process_dies_says_so_and_goes_on(
    small: dict[str, Any], honest: Path, tmp_path: Path
) -> None:
    folder, before = carry_out(tmp_path / "run", "finetune", small), children()

    def kill(line: dict[str, Any]) -> None:
        if line["phase"] == "train" and line["task"] == 1:
            for pid in children() - before:
                os.kill(pid, signal.SIGKILL)

    with pytest.raises(RunError, match=rf"scores the run has ended \(killed by signal 9\); go on with: .*{folder}$"):
        execute(folder, kill)
    assert children() == before
    execute(folder)
    assert logged(folder) == logged(honest)
    assert children() == before


def test_a_killed_run_leaves_no_process_and_goes_on_at_once(
    small: dict[str, Any], honest: Path, tmp_path: Path
) -> None:
    folder = carry_out(tmp_path / "run", "finetune", small)
    if (run := os.fork()) == 0:
        try:
            execute(folder, lambda line: time.sleep(60) if line["phase"] == "eval" else None)
        finally:
            os._exit(1)
    metrics = folder / "metrics.jsonl"
    while not (metrics.exists() and b'"eval"' in metrics.read_bytes()):
        time.sleep(0.01)
    (scorer,) = (int(pid) for pid in Path(f"/proc/{run}/task/{run}/children").read_text().split())
    os.kill(run, signal.SIGKILL)
    os.waitpid(run, 0)
    execute(folder)
    assert logged(folder) == logged(honest)
    state = Path(f"/proc/{scorer}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


def test_an_error_where_scores_are_made_ends_the_run_with_its_text(small: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def strict(scores, targets, images, task):\n    return 1 / (1 - task)\n")
    overrides = small | {"evaluation.metrics": [f"{tmp_path}/own.py:strict"]}
    folder, before = carry_out(tmp_path / "run", "finetune", overrides), children()
    with pytest.raises(ClsimError, match=r"own\.py:2: metric strict failed after task 1: ZeroDivisionError"):
        execute(folder)
    assert children() == before
    assert "metric strict failed after task 1" in (folder / "error.txt").read_text()
