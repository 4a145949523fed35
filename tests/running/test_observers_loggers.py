"""Loggers of a run: what they are sent, over all processes of it, and that they change nothing."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import clsim
from clsim.errors import ClsimError
from clsim.running.execution import execute
from clsim.running.run_folder import RunFolder
from tests.fixtures import wandb_files
from tests.fixtures.logged import lines_of
from tests.fixtures.observers import killed, same_training


def test_an_own_logger_is_sent_each_line_once(
    prepared_with: Callable[..., Path], observer_files: Path, finished_run: Path, tmp_path: Path
) -> None:
    told = tmp_path / "told.txt"
    folder = prepared_with(loggers=[{"name": f"{observer_files}/my_logger.py:Own", "options": {"file": str(told)}}])
    killed(folder)
    assert told.read_text().splitlines()[-1] == "end False"
    execute(folder)
    assert same_training(folder, finished_run)
    assert not RunFolder(folder).events.exists()  # without the logger tensorboard
    heard = told.read_text().splitlines()
    assert [line for line in heard if line.startswith("begin")] == [
        "begin lwf+er/seed3 digits-b0c2 0 None 2",
        "begin lwf+er/seed3 digits-b0c2 5 my-id 2",
    ]
    values = [line for line in heard if line.startswith(("mAP", "loss"))]
    steps = ["loss/total 1", "loss/total 2", "mAP/seen 1", "loss/total 3", "loss/total 4", "mAP/seen 2"]
    assert values == [*steps, "loss/total 5", "loss/total 6", "mAP/seen 3"]
    assert heard.count("epoch True") == 6
    assert heard[-1] == "end lwf+er"


def test_one_that_fails_ends_no_run_and_is_told_once(
    prepared_with: Callable[..., Path], observer_files: Path, finished_run: Path, tmp_path: Path
) -> None:
    options = {"file": str(tmp_path / "told.txt"), "fails": True}
    folder = prepared_with(loggers=["tensorboard", {"name": f"{observer_files}/my_logger.py:Own", "options": options}])
    said: list[str] = []
    execute(folder, say=said.append)
    assert same_training(folder, finished_run)
    text = f"logger {observer_files}/my_logger.py:Own failed, the run goes on: OSError: server gone"
    assert said == [text]
    assert RunFolder(folder).run_log.read_text().count(text) == 1


def test_one_that_cannot_be_made_ends_the_run_before_training(
    prepared_with: Callable[..., Path], observer_files: Path
) -> None:
    folder = prepared_with(loggers=[f"{observer_files}/my_logger.py:Picky"])
    with pytest.raises(ClsimError, match="Picky cannot be made: ValueError: no key"):
        execute(folder)
    assert not RunFolder(folder).metrics.exists()


def test_a_comparison_tells_of_a_logger_that_fails(
    observer_files: Path, tiny_overrides: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from clsim.launch.progress import ConsoleProgress

    options = {"file": str(tmp_path / "told.txt"), "fails": True}
    short = {"stream.increment": 5, "training.epochs": 1}
    loggers = {"loggers": [{"name": f"{observer_files}/my_logger.py:Own", "options": options}]}
    overrides = tiny_overrides | short | loggers
    comparison = clsim.compare("digits-b0c2", "er", overrides=overrides, out=tmp_path, progress=ConsoleProgress())
    assert not comparison.failed
    assert capsys.readouterr().err.count("failed, the run goes on: OSError: server gone") == 1


def test_the_table_holds_every_value_once(prepared_with: Callable[..., Path]) -> None:
    folder = prepared_with(loggers=["csv"])
    killed(folder)
    execute(folder)
    with RunFolder(folder).table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = [
        (line["phase"], str(line["task"]), str(line["step"]), tag, "" if value is None else str(value))
        for line in lines_of(folder)
        for tag, value in line["values"].items()
    ]
    assert sorted(tuple(row.values()) for row in rows) == sorted(expected)
    assert list(rows[0]) == ["phase", "task", "step", "tag", "value"]


def test_wandb_has_every_value_of_an_interrupted_run_once(
    prepared_with: Callable[..., Path], finished_run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("WANDB_MODE", "WANDB_PROJECT", "WANDB_ENTITY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    folder = prepared_with(loggers=[{"name": "wandb", "options": {"project": "mine"}}])
    killed(folder)
    execute(folder)
    assert same_training(folder, finished_run)
    axes = {"eval": "tasks", "train": "epochs"}
    expected = [
        {tag: value for tag, value in line["values"].items() if value is not None}
        | {axes[line["phase"]]: line["step"], "_step": number}
        for number, line in enumerate(lines_of(folder), start=1)
    ]
    assert wandb_files.histories(folder) == expected
    first, second = wandb_files.described(folder)
    assert first.run_id == second.run_id == json.loads(RunFolder(folder).loggers.read_text())["wandb"]["id"]
    assert (first.project, first.display_name, first.run_group) == ("mine", "lwf+er/seed3", "digits-b0c2")
    config = {item.key: json.loads(item.value_json) for item in first.config.update}
    assert (config["strategy"], config["training.epochs"], config["strategy.lwf.weight"]) == ("lwf+er", 2, 1.0)


def test_mlflow_has_every_value_of_an_interrupted_run_once(
    prepared_with: Callable[..., Path], finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    folder = prepared_with(loggers=["mlflow"])
    killed(folder)
    client = MlflowClient((folder.parents[1] / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("digits-b0c2")
    assert [run.info.status for run in client.search_runs([experiment.experiment_id])] == ["KILLED"]
    execute(folder)
    assert same_training(folder, finished_run)
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.status, run.info.run_name) == ("FINISHED", "lwf+er/seed3")
    assert (run.data.params["strategy"], run.data.params["training.epochs"]) == ("lwf+er", "2")
    expected: dict[str, list[tuple[int, float]]] = {}
    for line in lines_of(folder):
        for tag, value in line["values"].items():
            if value is not None:
                expected.setdefault(tag, []).append((line["step"], value))
    assert run.data.metrics.keys() == expected.keys()
    for tag, points in expected.items():
        assert [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, tag)] == points, tag


def test_runs_that_share_a_task_are_logged_alike(
    observer_files: Path, tiny_overrides: dict[str, Any], tmp_path: Path
) -> None:
    told = {"name": f"{observer_files}/my_logger.py:Own", "options": {"file": str(tmp_path / "told.txt")}}
    comparison = clsim.compare(
        "digits-b0c2", "finetune,lwf", overrides=tiny_overrides | {"loggers": ["csv", told]}, out=tmp_path
    )
    shared = [run for run in comparison.results.runs if run.record.first_task is not None]
    assert len(shared) == 1
    heard = (tmp_path / "told.txt").read_text().splitlines()
    assert heard.count("loss/total 1") == heard.count("loss/total 6") == heard.count("mAP/seen 3") == 2
    table = RunFolder(shared[0].folder).table.read_text().splitlines()
    assert len(table) - 1 == sum(len(line["values"]) for line in lines_of(shared[0].folder))
