from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import clsim
from clsim.errors import RunError, ScenarioError, StrategyError
from clsim.running.prepared_run import open_run
from clsim.scenario import Scenario, StreamPlan
from tests.fixtures.logged import logged
from tests.fixtures.small_runs import Recorder


def test_a_run_folder_holds_everything_that_defines_and_describes_the_run(finished_run: Path) -> None:
    assert finished_run.parts[-3:] == ("digits-b0c2", "lwf+er", "seed3")
    names = {path.name for path in finished_run.iterdir() if not path.name.startswith("events.")}
    defining = {"config.yaml", "run.json", "identity.json", "command.txt", "plan.json.gz"}
    described = {"environment.json", "result.json", "run.log", "timing.jsonl", "memory.csv"}
    measured = {"metrics.jsonl", "class_values.f64", "class_values.json"}
    kept = {"checkpoint", "model.pt", "scores.f32", "scores.json", "checksums.json"}
    assert names == defining | described | measured | kept


def test_the_result_has_the_fixed_names(finished_run: Path) -> None:
    result = json.loads((finished_run / "result.json").read_text())
    plan = StreamPlan.from_bytes((finished_run / "plan.json.gz").read_bytes())
    assert (result["strategy"], result["seed"], result["scenario"]) == ("lwf+er", 3, "digits-b0c2")
    assert result["plan_sha256"] == plan.sha256
    assert result["derived_from"] is None
    assert 0 < result["last_mAP"] < 100
    assert result["avg_mAP"] == pytest.approx(sum(result["mAP"]) / 3)
    assert isinstance(result["forgetting"], float)
    assert set(result["groups"]["last_mAP"]) == {"head", "medium", "tail"}
    assert result["R"][0][1:] == [None, None]
    assert result["memory"]["rows"] == 20
    assert result["memory"]["bytes"] > 20 * 3 * 28 * 28


def test_the_resolved_configuration_is_a_scenario_with_the_same_plan(finished_run: Path, tiny: Scenario) -> None:
    scenario, spec = open_run(finished_run)
    assert scenario.plan().sha256 == tiny.plan().sha256
    assert (spec.strategy, spec.seed) == ("lwf+er", 3)
    assert scenario.config.threads == 1


def test_the_environment_names_versions_device_and_threads(finished_run: Path) -> None:
    environment = json.loads((finished_run / "environment.json").read_text())
    assert {"clsim", "torch", "avalanche-lib", "numpy", "python", "git_commit", "git_dirty"} <= set(environment)
    assert (environment["threads"], environment["device"]) == (1, "cpu")


def test_the_same_seed_twice_gives_identical_metrics(finished_run: Path, tiny_overrides: dict, tmp_path: Path) -> None:
    again = clsim.run("digits-b0c2", "lwf+er", seed=3, overrides=tiny_overrides, out=tmp_path)
    assert logged(again.folder) == logged(finished_run)
    assert (again.folder / "result.json").read_bytes() == (finished_run / "result.json").read_bytes()


def test_a_run_says_which_classes_it_cannot_teach(tiny_overrides: dict, tmp_path: Path) -> None:
    classes = {"dataset.classes": ["0", "1", "2"], "stream.increment": 1, "training.epochs": 1}
    told = Recorder()
    run = clsim.run("digits-b0c2", "finetune", overrides=tiny_overrides | classes, out=tmp_path, progress=told)
    note = "classes without a visible 0, which no method can tell from others by labels alone: 0, 1, 2"
    assert told.said == [f"note: {note}"]
    assert f"stream: {note}" in (run.folder / "run.log").read_text()
    assert run.record.notes == [note]
    truth = StreamPlan.from_bytes((run.folder / "plan.json.gz").read_bytes()).test_truth
    for column, task in enumerate(run.record.tasks):
        assert task.chance == pytest.approx(100 * (truth[:, column] == 1).mean())


def test_another_seed_gives_other_metrics(finished_run: Path, tiny_overrides: dict, tmp_path: Path) -> None:
    other = clsim.run("digits-b0c2", "lwf+er", seed=4, overrides=tiny_overrides, out=tmp_path)
    assert logged(other.folder) != logged(finished_run)


def test_a_taken_folder_is_not_overwritten_without_being_asked(tiny_overrides: dict, tmp_path: Path) -> None:
    short = tiny_overrides | {"training.epochs": 1}
    first = clsim.run("digits-b0c2", "finetune", overrides=short, out=tmp_path)
    before = (first.folder / "result.json").read_bytes()
    with pytest.raises(RunError, match=r"finetune/seed0: there already; use --overwrite"):
        clsim.run("digits-b0c2", "finetune", overrides=tiny_overrides, out=tmp_path)
    assert (first.folder / "result.json").read_bytes() == before
    again = clsim.run("digits-b0c2", "finetune", overrides=tiny_overrides, out=tmp_path, overwrite=True)
    assert (again.folder / "result.json").read_bytes() != before


def test_a_link_that_leads_nowhere_is_in_the_way(tiny_overrides: dict, tmp_path: Path) -> None:
    folder = tmp_path / "digits-b0c2" / "er" / "seed0"
    folder.parent.mkdir(parents=True)
    folder.symlink_to(tmp_path / "nowhere")
    with pytest.raises(RunError, match="there already; use --overwrite"):
        clsim.run("digits-b0c2", "er", overrides=tiny_overrides, out=tmp_path)
    for overwrite in (False, True):
        with pytest.raises(RunError, match=f"{folder}: is not a run folder"):
            clsim.compare("digits-b0c2", ["er"], overrides=tiny_overrides, out=tmp_path, overwrite=overwrite)
    assert folder.is_symlink()


def test_a_diverging_run_says_where_and_leaves_the_reason(tiny_overrides: dict, tmp_path: Path) -> None:
    wild = tiny_overrides | {"training.optimizer.lr": 1e30, "training.optimizer.name": "sgd"}
    with pytest.raises(RunError, match=r"loss term '\w+' is nan in task 0, epoch \d"):
        clsim.run("digits-b0c2", "finetune", overrides=wild, out=tmp_path)
    folder = tmp_path / "digits-b0c2" / "finetune" / "seed0"
    assert "is nan in task 0" in (folder / "error.txt").read_text()
    assert not (folder / "result.json").exists()
    assert not (folder / "lock").exists()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"strategy": "lfw"}, StrategyError, "did you mean 'lwf'"),
        ({"seed": -1}, RunError, "seed: given -1"),
        ({"device": "tpu"}, RunError, "given 'tpu', allowed: auto, cpu, cuda"),
        ({"overrides": {"training.epoch": 1}}, ScenarioError, "did you mean 'epochs'"),
        ({"overrides": {"strategy.wieght": 1}}, StrategyError, "did you mean 'weight'"),
        ({"strategy": "er", "overrides": {"memory.budget": {"total": 3}}}, StrategyError, "at least 10"),
        ({"strategy": "er", "overrides": {"memory.budget": "none"}}, StrategyError, "er needs a memory"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    arguments: dict, error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        clsim.run(**{"scenario": "digits-b0c2", "strategy": "lwf", "out": tmp_path / "runs"} | arguments)
    assert not (tmp_path / "runs").exists()


def test_joint_trains_on_a_derived_plan(comparison: clsim.Comparison) -> None:
    frame = comparison.frame.set_index(["strategy", "seed"])
    assert pd.isna(frame.loc[("finetune", 0), "derived_from"])
    assert frame.loc[("joint", 0), "derived_from"] == frame.loc[("finetune", 0), "plan_sha256"]
    assert frame.loc[("joint", 0), "plan_sha256"] != frame.loc[("finetune", 0), "plan_sha256"]


def test_joint_last_only_leaves_the_average_undefined(tiny_overrides: dict, tmp_path: Path) -> None:
    overrides = tiny_overrides | {"strategy.tasks": "last"}
    result = clsim.run("digits-b0c2", "joint", overrides=overrides, out=tmp_path).result
    assert result["mAP"][:2] == [None, None]
    assert result["mAP"][2] == result["last_mAP"]
    assert result["avg_mAP"] is None
    assert result["forgetting"] is None
