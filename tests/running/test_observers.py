"""Metrics and loggers of a run: what they are sent, over all processes of it, and that they change nothing."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import clsim
from clsim.errors import ClsimError
from clsim.report.results import load_results
from clsim.running.execution import execute
from clsim.running.prepared_run import prepare
from clsim.running.run_folder import RunFolder
from clsim.running.run_spec import RunSpec
from clsim.scenario import load_scenario
from tests.fixtures import wandb_files
from tests.fixtures.logged import lines_of

LOGGER = """\
import random
from pathlib import Path

import numpy as np
import torch
from avalanche.logging import BaseLogger


class Own(BaseLogger):
    def __init__(self, file: str, fails: bool = False):
        super().__init__()
        self.file, self.fails = Path(file), fails

    def say(self, *what):
        random.random(), np.random.rand(), torch.rand(1)
        with self.file.open("a") as file:
            print(*what, file=file)

    def begin(self, run):
        self.say("begin", run.name, run.scenario, run.sent, run.id, run.settings["training.epochs"])
        return "my-id"

    def log_single_metric(self, name, value, x_plot):
        if self.fails:
            raise OSError("server\\ngone")
        if name in ("mAP/seen", "loss/total"):
            self.say(name, x_plot)

    def after_training_epoch(self, strategy, metric_values, **kwargs):
        self.say("epoch", len(metric_values) > 0)

    def before_training_exp(self, strategy, metric_values, **kwargs):
        self.say("task", strategy.experience.current_experience)

    def end(self, result):
        self.say("end", result is not None and result["strategy"])


class Slow:
    pass


class Picky(Own):
    def __init__(self):
        raise ValueError("no key")
"""
METRICS = """\
import random

import numpy as np
import torch


def hits(scores, targets, images, task, factor: int = 1):
    random.random(), np.random.rand(), torch.rand(1), torch.manual_seed(7)
    return {"share": factor * 100 * float((scores > 0)[targets == 1].mean()), "task": task, "never": None}


def micro(scores, targets, images, task):
    return None if task == 0 else len(images)


def last_mAP(scores, targets, images, task):
    return 0


def breaks(scores, targets, images, task):
    return scores.nothing


def late(scores, targets, images, task):
    return 1 / (task - 1)


def shape(scores, targets):
    return 0


NUMBER = 3
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Folder of my_logger.py and my_metrics.py."""
    home = tmp_path / "own"
    home.mkdir()
    (home / "my_logger.py").write_text(LOGGER)
    (home / "my_metrics.py").write_text(METRICS)
    return home


@pytest.fixture
def prepared(tmp_path: Path, tiny_overrides: dict[str, Any]) -> Callable[..., Path]:
    """Makes the folder of a run as `finished_run` is one, with further settings."""

    def make(**settings: Any) -> Path:
        keys = {key.replace("__", "."): value for key, value in settings.items()}
        folder = tmp_path / "runs" / "lwf+er" / "seed3"
        scenario = load_scenario("digits-b0c2", tiny_overrides | {"checkpoint.minutes": None} | keys)
        prepare(folder, scenario, RunSpec("lwf+er", "lwf+er", 3), 1)
        return folder

    return make


def killed(folder: Path, at: int = 6) -> None:
    """Carry a run out until its n-th line of metrics; by 6 the first task is saved and two lines more are sent."""
    heard = []

    def die(line: dict[str, Any]) -> None:
        heard.append(line)
        if len(heard) == at:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        execute(folder, die)


def same_training(folder: Path, other: Path) -> bool:
    """Whether weights and metrics, but for those of the user, are equal to the last bit."""
    states = [torch.load(RunFolder(path).path / "model.pt", weights_only=True) for path in (folder, other)]
    weights = [json.dumps(state, default=lambda tensor: tensor.tolist(), sort_keys=True) for state in states]
    plain = []
    for path in (folder, other):
        values = [line["values"] for line in lines_of(path)]
        plain.append([{tag: v for tag, v in own.items() if not tag.startswith("metric/")} for own in values])
    return weights[0] == weights[1] and plain[0] == plain[1]


def test_own_metrics_are_curves_values_and_columns(
    prepared: Callable[..., Path], files: Path, finished_run: Path
) -> None:
    metrics = [{"name": f"{files}/my_metrics.py:hits", "options": {"factor": 2}}, f"{files}/my_metrics.py:micro"]
    folder = prepared(evaluation__metrics=metrics)
    result = execute(folder)
    assert same_training(folder, finished_run)
    courses = {name: course for metric in result["metrics"].values() for name, course in metric["courses"].items()}
    assert list(courses) == ["hits/share", "hits/task", "hits/never", "micro"]
    assert (courses["hits/task"], courses["hits/never"]) == ([0.0, 1.0, 2.0], [None] * 3)
    assert courses["micro"][0] is None
    logged = [line["values"]["metric/hits/share"] for line in lines_of(folder) if line["phase"] == "eval"]
    assert logged == courses["hits/share"]
    assert 0 <= logged[-1] <= 200
    events = RunFolder(folder).events.read_bytes()
    assert b"metric/hits/share" in events
    assert b"metric/hits/never" not in events
    frame = load_results(folder.parents[1]).frame
    assert frame.loc[0, "hits/share"] == courses["hits/share"][-1]
    assert frame.loc[0, "micro"] == courses["micro"][-1]
    page = clsim.Comparison(folder.parents[1], ("lwf+er",)).report().read_text(encoding="utf-8")
    assert 'id="table-own-metrics"' in page
    assert f"hits ({files}/my_metrics.py:hits)" in page
    assert "hits/share" in (folder.parents[1] / "results.csv").read_text()
    assert "| Strategy | Seeds | hits/share | hits/task | hits/never | micro |" in (
        folder.parents[1] / "results.md"
    ).read_text(encoding="utf-8")


def test_own_metrics_of_a_resumed_run_are_those_of_a_whole_one(prepared: Callable[..., Path], files: Path) -> None:
    folder = prepared(evaluation__metrics=[f"{files}/my_metrics.py:hits"])
    killed(folder)
    assert execute(folder)["metrics"]["hits"]["courses"]["hits/task"] == [0.0, 1.0, 2.0]


def test_one_that_fails_late_is_mended_and_the_run_goes_on(prepared: Callable[..., Path], files: Path) -> None:
    folder = prepared(evaluation__metrics=[f"{files}/my_metrics.py:late"])
    with pytest.raises(
        ClsimError, match="metric late failed after task 1: ZeroDivisionError: division by zero"
    ) as stop:
        execute(folder)
    assert re.match(rf"{re.escape(str(files))}/my_metrics.py:\d+: metric late", str(stop.value))
    path = files / "my_metrics.py"
    path.write_text(path.read_text().replace("1 / (task - 1)", "task"))
    assert execute(folder)["metrics"]["late"]["courses"]["late"] == [None, 1.0, 2.0]  # the first is of other code
    assert "late has changed: its values up to task 0 are dropped" in RunFolder(folder).run_log.read_text()


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (
            {"evaluation.metrics": ["{}/my_metrics.py:hist"]},
            "evaluation.metrics.0: given .*defines no 'hist', did",
        ),
        ({"evaluation.metrics": ["{}/nothing.py:hits"]}, "no file '.*nothing.py' is there"),
        ({"evaluation.metrics": ["{}/my_metrics.py:last_mAP"]}, "py:last_mAP: clsim itself measures last_mAP"),
        ({"evaluation.metrics": ["{}/my_metrics.py:breaks"]}, r"my_metrics.py:21: metric breaks failed after task 0: "),
        ({"evaluation.metrics": ["{}/my_metrics.py:shape"]}, "metric .*py:shape failed after task 0: TypeError: shape"),
        ({"evaluation.metrics": ["{}/my_metrics.py:NUMBER"]}, "evaluation.metrics.0: .*NUMBER is not a function"),
        ({"evaluation.metrics": ["hits"]}, "unknown metric 'hits'"),
        ({"evaluation.metrics": [{"name": "{}/my_metrics.py:hits", "options": {"facto": 2}}]}, "facto.*did you mean"),
        ({"evaluation.metrics": ["{}/my_metrics.py:micro"] * 2}, "is also named micro; rename one"),
        ({"loggers": ["tensorbord"]}, "unknown logger 'tensorbord', did you mean 'tensorboard'?"),
        ({"loggers": ["{}/my_logger.py:Own"]}, "loggers.0.options.file: .*required option is missing"),
        ({"loggers": ["{}/my_logger.py:Slow"]}, "py:Slow is not a subclass of avalanche.logging.BaseLogger"),
        ({"loggers": [{"name": "wandb", "options": {"projekt": "x"}}]}, "projekt.*did you mean 'project'"),
        ({"loggers": [{"name": "wandb", "options": {"mode": "on"}}]}, "loggers.0.options.mode: given 'on'"),
        ({"loggers": ["csv", "csv"]}, "loggers.1: csv is named twice"),
    ],
)
def test_what_is_wrong_is_told_before_training(
    settings: dict[str, Any], problem: str, files: Path, tiny_overrides: dict[str, Any], tmp_path: Path
) -> None:
    filled = json.loads(json.dumps(settings).replace("{}", str(files)))
    for call in (clsim.run, clsim.compare):
        with pytest.raises(ClsimError, match=problem) as caught:
            call("digits-b0c2", "er", overrides=tiny_overrides | filled, out=tmp_path / "runs")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_a_package_that_is_missing_is_named(
    tiny_overrides: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clsim.running.observers.find_spec", lambda name: None)
    with pytest.raises(
        ClsimError, match=re.escape("mlflow needs the package mlflow-skinny: pip install 'clsim[mlflow]'")
    ):
        clsim.run("digits-b0c2", "er", overrides=tiny_overrides | {"loggers": ["mlflow"]}, out=tmp_path)


def test_an_own_logger_is_sent_each_line_once(
    prepared: Callable[..., Path], files: Path, finished_run: Path, tmp_path: Path
) -> None:
    told = tmp_path / "told.txt"
    folder = prepared(loggers=[{"name": f"{files}/my_logger.py:Own", "options": {"file": str(told)}}])
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
    prepared: Callable[..., Path], files: Path, finished_run: Path, tmp_path: Path
) -> None:
    options = {"file": str(tmp_path / "told.txt"), "fails": True}
    folder = prepared(loggers=["tensorboard", {"name": f"{files}/my_logger.py:Own", "options": options}])
    said: list[str] = []
    execute(folder, say=said.append)
    assert same_training(folder, finished_run)
    text = f"logger {files}/my_logger.py:Own failed, the run goes on: OSError: server gone"
    assert said == [text]
    assert RunFolder(folder).run_log.read_text().count(text) == 1


def test_one_that_cannot_be_made_ends_the_run_before_training(prepared: Callable[..., Path], files: Path) -> None:
    folder = prepared(loggers=[f"{files}/my_logger.py:Picky"])
    with pytest.raises(ClsimError, match="Picky cannot be made: ValueError: no key"):
        execute(folder)
    assert not RunFolder(folder).metrics.exists()


def test_a_comparison_tells_of_a_logger_that_fails(
    files: Path, tiny_overrides: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from clsim.launch.progress import ConsoleProgress

    options = {"file": str(tmp_path / "told.txt"), "fails": True}
    short = {"stream.increment": 5, "training.epochs": 1}
    loggers = {"loggers": [{"name": f"{files}/my_logger.py:Own", "options": options}]}
    overrides = tiny_overrides | short | loggers
    comparison = clsim.compare("digits-b0c2", "er", overrides=overrides, out=tmp_path, progress=ConsoleProgress())
    assert not comparison.failed
    assert capsys.readouterr().err.count("failed, the run goes on: OSError: server gone") == 1


def test_metrics_and_loggers_are_outside_the_identity(
    files: Path, tiny_overrides: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from clsim.launch.progress import ConsoleProgress

    short = tiny_overrides | {"stream.increment": 5, "training.epochs": 1}
    first = clsim.compare("digits-b0c2", "er", overrides=short | {"evaluation.keep_scores": "last"}, out=tmp_path)
    told = {"name": f"{files}/my_logger.py:Own", "options": {"file": str(tmp_path / "told.txt")}}
    other = {"evaluation.metrics": [f"{files}/my_metrics.py:hits"], "loggers": [told], "evaluation.keep_scores": "none"}
    other |= {"evaluation.pictures": "last"}
    again = clsim.compare(
        "digits-b0c2", "er,finetune", overrides=short | other, out=tmp_path, progress=ConsoleProgress()
    )
    folder = first.folder / "er" / "seed0"
    assert again.reused == (folder,)
    text = f"{folder}: has no values of hits, which was not asked for; from the scores that it kept: clsim evaluate "
    assert text in capsys.readouterr().err
    assert not RunFolder(again.folder / "finetune" / "seed0").about_scores.exists()
    every = {"evaluation.keep_scores": "all"}
    clsim.compare("digits-b0c2", "er,finetune", overrides=short | every, out=tmp_path, progress=ConsoleProgress())
    told_of = capsys.readouterr().err
    for name, kept in (("er", "last"), ("finetune", "none")):
        assert f"{name}/seed0: began with evaluation.keep_scores: {kept}, and stays so; --overwrite" in told_of
    page = again.report().read_text(encoding="utf-8")
    assert "No values of the metric hits: er/seed0, trained and evaluated without it." in page
    assert "resolved configurations differ" not in page
    assert again.frame["hits/task"].isna().tolist() == [True, False]
    path = files / "my_metrics.py"
    path.write_text(path.read_text().replace("factor * 100", "factor * 10"))
    clsim.compare("digits-b0c2", "finetune", overrides=short | other, out=tmp_path, progress=ConsoleProgress())
    assert (
        "has no values of hits, which has changed since; it is computed while a run trains" in capsys.readouterr().err
    )
    path.write_text(path.read_text().replace("factor * 10 ", "factor * 100 ") + "\n# a comment\n")
    clsim.compare("digits-b0c2", "finetune", overrides=short | other, out=tmp_path, progress=ConsoleProgress())
    assert "has no values" not in capsys.readouterr().err


def test_the_table_holds_every_value_once(prepared: Callable[..., Path]) -> None:
    folder = prepared(loggers=["csv"])
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
    prepared: Callable[..., Path], finished_run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("WANDB_MODE", "WANDB_PROJECT", "WANDB_ENTITY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    folder = prepared(loggers=[{"name": "wandb", "options": {"project": "mine"}}])
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
    prepared: Callable[..., Path], finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    folder = prepared(loggers=["mlflow"])
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


def test_runs_that_share_a_task_are_logged_alike(files: Path, tiny_overrides: dict[str, Any], tmp_path: Path) -> None:
    told = {"name": f"{files}/my_logger.py:Own", "options": {"file": str(tmp_path / "told.txt")}}
    comparison = clsim.compare(
        "digits-b0c2", "finetune,lwf", overrides=tiny_overrides | {"loggers": ["csv", told]}, out=tmp_path
    )
    shared = [run for run in comparison.results.runs if run.record.first_task is not None]
    assert len(shared) == 1
    heard = (tmp_path / "told.txt").read_text().splitlines()
    assert heard.count("loss/total 1") == heard.count("loss/total 6") == heard.count("mAP/seen 3") == 2
    table = RunFolder(shared[0].folder).table.read_text().splitlines()
    assert len(table) - 1 == sum(len(line["values"]) for line in lines_of(shared[0].folder))
