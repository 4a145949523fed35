from __future__ import annotations

import json
from pathlib import Path

import pytest

import clsim
from clsim.errors import RunError, ScenarioError, StrategyError
from clsim.launch.run_state import RunState
from clsim.report.writing import write_report
from clsim.running import run_identity
from clsim.running.run_identity import read_identity
from tests.fixtures.logged import logged

FILES = {"report.html", "results.csv", "statistics.csv", "classes.csv", "results.md", "results.tex"}
BROKEN = """
import clsim


class Broken(clsim.Strategy):
    name = "broken"

    def plugins(self, context):
        raise RuntimeError("no plugins today")
"""


def test_every_strategy_and_seed_is_run_and_summarised(comparison: clsim.Comparison) -> None:
    assert comparison.failed == {}
    assert comparison.order == ("joint", "finetune")
    assert list(zip(comparison.frame["strategy"], comparison.frame["seed"], strict=True)) == [
        ("joint", 0),
        ("joint", 1),
        ("finetune", 0),
        ("finetune", 1),
    ]
    assert comparison.table().count("±") > 2


def test_all_runs_meet_the_same_stream(comparison: clsim.Comparison) -> None:
    plans = {run.stream for run in comparison.results.runs}
    assert len(plans) == 1


def test_the_identity_of_a_run_is_taken_once(tmp_path: Path, tiny_overrides: dict, monkeypatch) -> None:
    taken: list[str] = []
    really = run_identity.identity
    monkeypatch.setattr(
        run_identity, "identity", lambda *given, **more: (taken.append(given[1]), really(*given, **more))[1]
    )
    given = {"overrides": tiny_overrides | {"threads": 1}, "out": tmp_path, "device": "cpu"}
    prepared = clsim.compare("digits-b0c2", "finetune,er", seeds=(0, 1), prepare_only=True, **given)
    assert sorted(taken) == ["er", "er", "finetune", "finetune"]
    assert read_identity(prepared.folder / "er" / "seed1")["seed"] == 1


def test_the_report_is_written_where_asked(comparison: clsim.Comparison, tmp_path: Path) -> None:
    page = comparison.report(tmp_path / "report")
    assert page == tmp_path / "report" / "report.html"
    assert {path.name for path in page.parent.iterdir()} == FILES


def test_a_run_in_a_process_equals_the_run_in_this_one(
    comparison: clsim.Comparison, tiny_overrides: dict, tmp_path: Path
) -> None:
    here = clsim.run("digits-b0c2", "finetune", seed=1, overrides=tiny_overrides, out=tmp_path)
    there = comparison.folder / "finetune" / "seed1"
    assert logged(here.folder) == logged(there)


def test_a_label_alone_changes_no_number_and_labelled_runs_are_reused(
    comparison: clsim.Comparison, tiny_overrides: dict, tmp_path: Path
) -> None:
    names = "finetune as plain, finetune(training.epochs=1) as short, lwf+er(lwf.weight=2)"
    given = {"seeds": [1], "overrides": tiny_overrides, "out": tmp_path, "baseline": "short", "name": "labels"}
    result = clsim.compare("digits-b0c2", names, **given)
    assert [run.strategy for run in result.results.runs] == ["plain", "short", "lwf+er(lwf.weight=2)"]
    same = comparison.folder / "finetune" / "seed1"
    assert logged(result.folder / "plain" / "seed1") == logged(same)
    identities = [read_identity(folder) for folder in (result.folder / "plain" / "seed1", same)]
    assert identities[0] == identities[1]
    assert result.results.of("short")[0].config["training"]["epochs"] == 1
    assert read_identity(result.folder / "lwf+er(lwf.weight=2)" / "seed1")["strategy.lwf.weight"] == 2
    page = result.report().read_text(encoding="utf-8")
    assert "Differences to short" in page
    assert clsim.compare("digits-b0c2", names, **given).reused == tuple(run.folder for run in result.results.runs)
    with pytest.raises(RunError, match=r"plain/seed1: another run is there \(training.epochs: was 2, now 1\)"):
        clsim.compare("digits-b0c2", "finetune(training.epochs=1) as plain", **given | {"baseline": None})


class Recorder:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.states: dict[str, RunState] = {}
        self.said: list[str] = []
        self.closed = False

    def update(self, folder: Path, state: RunState) -> None:
        self.states[folder.parent.name] = state

    def say(self, text: str) -> None:
        self.said.append(text)

    def close(self) -> None:
        self.closed = True


def test_a_comparison_says_that_each_seed_has_features_of_its_own(tiny_overrides: dict, tmp_path: Path) -> None:
    cached = {"training.model": {"name": "tiny-resnet", "freeze": "backbone", "cache_features": True}, "threads": 1}
    given: dict = {"overrides": tiny_overrides | cached, "device": "cpu", "prepare_only": True}
    for seeds, said in (([0, 1], 1), ([0], 0)):
        recorder = Recorder()
        clsim.compare("digits-b0c2", "finetune", seeds=seeds, out=tmp_path / str(said), progress=recorder, **given)
        assert sum("each of the 2 seeds draws a backbone" in text for text in recorder.said) == said


@pytest.mark.slow
def test_a_failing_run_does_not_stop_the_others(tiny_overrides: dict, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    recorder = Recorder()
    result = clsim.compare(
        "digits-b0c2",
        [f"{tmp_path / 'broken.py'}:Broken", "finetune"],
        overrides=tiny_overrides,
        out=tmp_path / "runs",
        workers=1,
        progress=recorder,
        baseline=f"{tmp_path / 'broken.py'}:Broken",
    )
    folder = tmp_path / "runs" / "digits-b0c2" / "broken" / "seed0"
    reason = f"{tmp_path / 'broken.py'}:9: RuntimeError: no plugins today"
    assert result.failed == {folder: f"{reason}; see {folder / 'run.log'}"}
    assert list(result.frame["strategy"]) == ["finetune"]
    assert [entry.reason for entry in result.results.unfinished] == [reason]
    assert {name: state.status for name, state in recorder.states.items()} == {
        "broken": "failed",
        "finetune": "finished",
    }
    assert recorder.states["finetune"].done == recorder.states["finetune"].total == 6
    assert recorder.closed
    assert result.baseline == "broken"  # named as it was asked for; what failed does not cost the report
    assert "Differences to finetune" in result.report().read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"strategies": []}, RunError, "at least one strategy"),
        ({"seeds": []}, RunError, "at least one strategy and one seed"),
        ({"strategies": ["finetune", "fintune"]}, StrategyError, "did you mean 'finetune'"),
        ({"overrides": {"strategy.lwf.weight": 2}}, StrategyError, "unknown strategy option 'lwf.weight'"),
        ({"workers": 0}, RunError, "workers: given 0"),
        (
            {"baseline": "fintune"},
            RunError,
            "baseline: given 'fintune', allowed: finetune, er, did you mean 'finetune'",
        ),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    arguments: dict, error: type[Exception], message: str, tmp_path: Path
) -> None:
    base = {"scenario": "digits-b0c2", "strategies": ["finetune", "er"], "out": tmp_path / "runs"}
    with pytest.raises(error, match=message):
        clsim.compare(**base | arguments)
    assert not (tmp_path / "runs").exists()


def test_an_option_goes_to_the_strategies_that_have_it(tiny_overrides: dict, tmp_path: Path) -> None:
    overrides = tiny_overrides | {"strategy.lwf.weight": 0.5, "training.epochs": 1}
    result = clsim.compare("digits-b0c2", ["finetune", "lwf"], overrides=overrides, out=tmp_path, workers=2)
    options = {run.strategy: run.result["options"] for run in result.results.runs}
    assert options["lwf"]["lwf"]["weight"] == 0.5
    assert "weight" not in json.dumps(options["finetune"])


@pytest.mark.slow
def test_each_class_order_is_a_stream_of_its_own_that_every_strategy_meets(
    tiny_overrides: dict, tmp_path: Path
) -> None:
    overrides = tiny_overrides | {"stream.order": "seed", "training.epochs": 1}
    result = clsim.compare(
        "digits-b0c2", ["finetune", "er"], order_seeds=[0, 1], overrides=overrides, out=tmp_path, workers=2
    )
    frame = result.frame
    assert list(frame[["strategy", "order_seed"]].itertuples(index=False, name=None)) == [
        ("finetune", 0),
        ("finetune", 1),
        ("er", 0),
        ("er", 1),
    ]
    plans = frame.groupby("order_seed")["plan_sha256"].unique()
    assert [len(hashes) for hashes in plans] == [1, 1]
    assert plans[0] != plans[1]
    page = result.report(tmp_path / "report")
    assert page == tmp_path / "report" / "report.html"
    assert (tmp_path / "report" / "order0" / "report.html").is_file()
    tables = (tmp_path / "report" / "results.md").read_text()
    assert "| finetune | 2 |" in tables
    again = write_report(result.folder, tmp_path / "again", result.order)
    assert again == tmp_path / "again" / "report.html"
    assert (tmp_path / "again" / "results.md").read_text() == tables


def test_class_order_seeds_need_a_drawn_order(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"stream\.order is 'alphabetical'; it must be seed"):
        clsim.compare("digits-b0c2", ["finetune"], order_seeds=[0, 1], out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
