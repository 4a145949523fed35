from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

import clsim
from clsim.cores import usable_cores
from clsim.errors import RunError, ScenarioError, StrategyError
from clsim.launch.replacement import set_aside
from clsim.running.folder_lock import locked
from clsim.running.hardware import resolve_threads
from clsim.running.prepared_run import open_run, prepare
from clsim.running.run_spec import RunSpec
from clsim.scenario import Scenario, StreamPlan


def test_a_run_folder_holds_everything_that_defines_and_describes_the_run(finished_run: Path) -> None:
    assert finished_run.parts[-3:] == ("digits-b0c2", "lwf+er", "seed3")
    names = {path.name for path in finished_run.iterdir() if not path.name.startswith("events.")}
    defining = {"config.yaml", "run.json", "identity.json", "plan.json.gz"}
    described = {"environment.json", "result.json", "run.log", "metrics.jsonl", "timing.jsonl", "memory.csv"}
    assert names == defining | described | {"checkpoint", "model.pt"}


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
    assert (again.folder / "metrics.jsonl").read_bytes() == (finished_run / "metrics.jsonl").read_bytes()
    assert (again.folder / "result.json").read_bytes() == (finished_run / "result.json").read_bytes()


def test_another_seed_gives_other_metrics(finished_run: Path, tiny_overrides: dict, tmp_path: Path) -> None:
    other = clsim.run("digits-b0c2", "lwf+er", seed=4, overrides=tiny_overrides, out=tmp_path)
    assert (other.folder / "metrics.jsonl").read_bytes() != (finished_run / "metrics.jsonl").read_bytes()


def test_a_taken_folder_is_not_overwritten_without_being_asked(tiny_overrides: dict, tmp_path: Path) -> None:
    short = tiny_overrides | {"training.epochs": 1}
    first = clsim.run("digits-b0c2", "finetune", overrides=short, out=tmp_path)
    before = (first.folder / "result.json").read_bytes()
    with pytest.raises(RunError, match=r"finetune/seed0: there already; use --overwrite"):
        clsim.run("digits-b0c2", "finetune", overrides=tiny_overrides, out=tmp_path)
    assert (first.folder / "result.json").read_bytes() == before
    again = clsim.run("digits-b0c2", "finetune", overrides=tiny_overrides, out=tmp_path, overwrite=True)
    assert (again.folder / "result.json").read_bytes() != before


def test_overwrite_removes_nothing_that_is_no_run(tiny: Scenario, tmp_path: Path) -> None:
    precious = tmp_path / "notes" / "thesis.txt"
    precious.parent.mkdir()
    precious.write_text("three years")
    run = tmp_path / "run"
    prepare(run, tiny, RunSpec("lwf", "lwf", 0), 1)
    with pytest.raises(RunError, match="is not a run folder"), set_aside([run, precious.parent]):
        pytest.fail("the block is not entered")
    assert precious.read_text() == "three years"
    assert run.exists()


def test_overwrite_removes_no_run_that_is_in_use(tiny: Scenario, tmp_path: Path) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    for folder in (other, run):
        prepare(folder, tiny, RunSpec("lwf", "lwf", 0), 1)
    with locked(run), pytest.raises(RunError, match=f"in use by process {os.getpid()}"), set_aside([other, run]):
        pytest.fail("the block is not entered")
    assert other.exists()
    assert run.exists()


@pytest.fixture
def runs(tiny: Scenario, tmp_path: Path) -> list[Path]:
    """Three prepared runs: a folder, a link to a folder elsewhere, and a folder below a link."""
    folders = [tmp_path / "out" / name / "seed0" for name in ("er", "lwf", "joint")]
    elsewhere = tmp_path / "elsewhere"
    for folder, place in zip(folders, (folders[0], elsewhere / "a", elsewhere / "joint" / "seed0"), strict=True):
        prepare(place, tiny, RunSpec("lwf", "lwf", 0), 1)
        (place / "mark").write_text(folder.parent.name)
    folders[1].parent.mkdir()
    folders[1].symlink_to(elsewhere / "a")
    folders[2].parent.symlink_to(elsewhere / "joint")
    return folders


def marks(folders: list[Path]) -> list[str]:
    return [(folder / "mark").read_text() for folder in folders]


def test_runs_are_replaced_wherever_they_lie_and_what_a_link_leads_to_is_kept(
    runs: list[Path], tiny: Scenario, tmp_path: Path
) -> None:
    with set_aside([*runs, tmp_path / "out" / "new" / "seed0"]):
        assert not any(map(os.path.lexists, runs))
        for folder in runs:
            prepare(folder, tiny, RunSpec("lwf", "lwf", 1), 1)
    assert [open_run(folder)[1].seed for folder in runs] == [1, 1, 1]
    assert not any((folder / "mark").exists() for folder in runs)
    assert [path.name for folder in runs for path in folder.parent.iterdir()] == ["seed0"] * 3
    assert {path.name for path in (tmp_path / "elsewhere").iterdir()} == {"a", "joint"}
    kept = tmp_path / "elsewhere" / "a"
    assert (kept / "mark").read_text() == "lwf"
    assert not (kept / "lock").exists()


def test_runs_are_put_back_when_a_new_one_cannot_be_prepared(runs: list[Path], tiny: Scenario, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be written: Directory not empty"), set_aside(runs):
        [prepare(runs[1], tiny, RunSpec("lwf", "lwf", 1), 1) for _ in range(2)]
    assert marks(runs) == ["er", "lwf", "joint"]
    assert runs[1].is_symlink()
    assert [path.name for folder in runs for path in folder.parent.iterdir()] == ["seed0"] * 3
    assert not any((folder / "lock").exists() for folder in runs)


def test_runs_are_put_back_when_one_of_them_cannot_be_moved(runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    really = Path.rename

    def refusing(path: Path, target: Path) -> Path:
        if path == runs[2]:
            raise PermissionError(13, "Permission denied", str(path))
        return really(path, target)

    monkeypatch.setattr(Path, "rename", refusing)
    message = f"{runs[2]}: cannot be replaced: Permission denied"
    with pytest.raises(RunError, match=message), set_aside(runs):
        pytest.fail("the block is not entered")
    assert marks(runs) == ["er", "lwf", "joint"]


def test_runs_that_a_killed_process_had_set_aside_are_not_lost(runs: list[Path]) -> None:
    runs[0].rename(runs[0].with_name(".seed0.replaced"))
    with pytest.raises(RunError, match="no room"), set_aside(runs):
        raise RunError("no room")
    assert marks(runs) == ["er", "lwf", "joint"]


def test_an_old_run_that_cannot_be_removed_is_a_warning(
    runs: list[Path], tiny: Scenario, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refusing(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with set_aside(runs):
        prepare(runs[0], tiny, RunSpec("lwf", "lwf", 1), 1)
        monkeypatch.setattr(shutil, "rmtree", refusing)
    assert ".seed0.replaced: the replaced run is not wholly removed: Permission denied" in caplog.text


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


def test_threads_are_shared_among_workers() -> None:
    cores = usable_cores()
    assert resolve_threads("auto") == cores
    assert resolve_threads("auto", workers=10 * cores) == 1
    assert resolve_threads(3, workers=2) == 3


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
