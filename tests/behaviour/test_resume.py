"""An interrupted run goes on to the same end."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import clsim
from benchmarks.soak import STRATEGIES, Soak, differences
from clsim.errors import RunError
from clsim.running.checkpoint_files import newest_checkpoint
from clsim.running.execution import execute
from clsim.running.run_folder import RunFolder
from clsim.scenario import Scenario
from tests.fixtures import prepared_runs
from tests.fixtures.prepared_runs import prepared

pytestmark = pytest.mark.usefixtures("as_in_a_terminal")
settings = prepared_runs.settings


class Stopper:
    """A listener that sends this process a signal at the n-th line of the metrics."""

    def __init__(self, at: int, number: signal.Signals = signal.SIGTERM) -> None:
        self.lines: list[dict[str, Any]] = []
        self.at = at
        self.number = number

    def __call__(self, line: dict[str, Any]) -> None:
        self.lines.append(line)
        if len(self.lines) == self.at:
            signal.raise_signal(self.number)


def interrupt(folder: Path) -> str:
    """Carry a run out until the first epoch of its second task is over; what it says."""
    with pytest.raises(KeyboardInterrupt) as stop:
        execute(folder, Stopper(4))
    return str(stop.value)


@pytest.fixture(scope="module")
def interrupted_once(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = prepared(tmp_path_factory.mktemp("interrupted") / "run", settings)
    return folder, interrupt(folder)


@pytest.fixture
def interrupted(interrupted_once: tuple[Path, str], tmp_path: Path) -> Path:
    """An interrupted run, to do with as one likes."""
    return shutil.copytree(interrupted_once[0], tmp_path / "run")


@pytest.fixture(scope="module")
def resumed(interrupted_once: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Stopper]:
    """An interrupted run that went on, with an older torch in its past, and who listened."""
    folder = shutil.copytree(interrupted_once[0], tmp_path_factory.mktemp("resumed") / "run")
    path = folder / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"torch": "1.0"}))
    listener = Stopper(0)
    execute(folder, listener)
    return folder, listener


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_killed_run_goes_on_to_the_same_end(strategy: str, tmp_path: Path) -> None:
    """Twice each: at a random moment, and inside the write of a checkpoint."""
    overrides = {
        "dataset.train": 60,
        "dataset.test": 40,
        "stream.increment": 5,
        "training.epochs": 2,
        "training.batch_size": 16,
        "training.model.image_size": 28,
        "memory.budget.per_class": 2,
        "threads": 1,
        "checkpoint.steps": 1,
    }
    soak = Soak(tmp_path, strategy, overrides)
    while soak.tally.kills < 2:  # a run that ends before the first moment is no kill
        soak.disturb(2)
    assert soak.tally.different == []


def test_a_run_asked_to_stop_says_where_and_leaves_the_reason(interrupted_once: tuple[Path, str]) -> None:
    folder, said = interrupted_once
    assert said == f"interrupted and saved at task 1, epoch 1, step 1; go on with: clsim resume {folder}"
    assert (folder / "error.txt").read_text() == said + "\n"
    assert not (folder / "lock").exists()
    header = json.loads((folder / RunFolder.checkpoint / "000002.json").read_text())
    assert header["position"] == {"task": 1, "epoch": 1, "step": 1, "started": True}


def test_a_resumed_run_equals_an_uninterrupted_one(resumed: tuple[Path, Stopper], finished_run: Path) -> None:
    assert differences(resumed[0], finished_run) == []
    assert not (resumed[0] / "error.txt").exists()


def test_who_listens_hears_of_what_was_before(resumed: tuple[Path, Stopper], finished_run: Path) -> None:
    lines = (finished_run / "metrics.jsonl").read_text().splitlines()
    assert resumed[1].lines == [json.loads(line) for line in lines]


def test_time_before_the_interruption_counts(resumed: tuple[Path, Stopper], interrupted: Path) -> None:
    loaded = newest_checkpoint(interrupted)
    assert loaded is not None
    spent = loaded.state()["plugins"][-1]["seconds"]
    timing = [json.loads(line) for line in (resumed[0] / "timing.jsonl").read_text().splitlines()]
    assert [line["task"] for line in timing] == [0, 1, 2]
    assert timing[1]["train_seconds"] > spent > 0


def test_the_environment_remembers_its_beginning(resumed: tuple[Path, Stopper], interrupted: Path) -> None:
    began = json.loads((interrupted / "environment.json").read_text())
    now = json.loads((resumed[0] / "environment.json").read_text())
    assert (now["started"], now["torch"]) == (began["started"], "1.0")
    assert [entry["torch"] for entry in now["resumed"]] == [began["torch"]]
    assert "the result may differ in its last bits: torch was 1.0" in (resumed[0] / "run.log").read_text()


def test_a_second_signal_acts_at_once(settings: dict[str, Any], tmp_path: Path) -> None:
    def impatient(line: dict[str, Any]) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    folder = prepared(tmp_path / "run", settings)
    with pytest.raises(KeyboardInterrupt):
        execute(folder, impatient)
    assert newest_checkpoint(folder) is None
    assert (folder / "error.txt").read_text() == "interrupted before its first checkpoint\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_many_signals_are_one_request(number: signal.Signals, settings: dict[str, Any], tmp_path: Path) -> None:
    def batch_system(line: dict[str, Any]) -> None:
        for _ in range(3):
            signal.raise_signal(number)

    folder = prepared(tmp_path / "run", settings)
    with pytest.raises(KeyboardInterrupt, match="interrupted and saved at task 0, epoch 1, step 1; go on with: "):
        execute(folder, batch_system)
    assert newest_checkpoint(folder) is not None


def test_a_run_interrupted_before_training_says_how_to_go_on(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(source: object) -> None:
        raise KeyboardInterrupt

    folder = prepared(tmp_path / "a run", settings)
    monkeypatch.setattr("clsim.running.resolved_run.skipped_images", interrupted)
    with pytest.raises(KeyboardInterrupt) as stop:
        execute(folder)
    monkeypatch.undo()
    assert str(stop.value) == f"interrupted before training; go on with: clsim resume '{folder}'"
    assert execute(folder)["last_mAP"] is not None


@pytest.mark.slow
def test_a_process_asked_to_stop_ends_with_130(settings: dict[str, Any], tmp_path: Path) -> None:
    folder = prepared(tmp_path / "run", settings)
    process = subprocess.Popen([sys.executable, "-m", "clsim.running.execution", folder], stderr=subprocess.PIPE)
    while process.poll() is None and not list(folder.glob(f"{RunFolder.checkpoint}/*.json")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert (process.returncode, b"go on with: clsim resume" in said) == (130, True)


def test_a_run_without_a_checkpoint_begins_again(interrupted: Path, finished_run: Path) -> None:
    shutil.rmtree(interrupted / RunFolder.checkpoint)
    assert (interrupted / "metrics.jsonl").stat().st_size > 0
    execute(interrupted)
    assert differences(interrupted, finished_run) == []


def test_a_damaged_checkpoint_falls_back_to_the_one_before(interrupted: Path, finished_run: Path) -> None:
    newest = interrupted / RunFolder.checkpoint / "000002.pt"
    newest.write_bytes(newest.read_bytes()[:-1])
    execute(interrupted)
    log = (interrupted / "run.log").read_text()
    assert f"checkpoint {newest} is damaged and passed over" in log
    assert f"goes on from {newest.with_name('000001.pt')}" in log
    assert differences(interrupted, finished_run) == []


def test_between_the_last_task_and_the_result_nothing_is_trained_again(finished_run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished_run, tmp_path / "run")
    (folder / "result.json").unlink()
    execute(folder)
    assert (folder / "timing.jsonl").read_bytes() == (finished_run / "timing.jsonl").read_bytes()
    assert differences(folder, finished_run) == []


@pytest.mark.parametrize("name", ["scores.f32", "class_values.f64"])
def test_what_was_added_after_the_last_checkpoint_is_cut_off(name: str, finished_run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished_run, tmp_path / "run")
    (folder / "result.json").unlink()
    with (folder / name).open("ab") as file:
        file.write(bytes(100))
    execute(folder)
    assert differences(folder, finished_run) == []


@pytest.mark.parametrize("name", ["scores.f32", "class_values.f64"])
def test_a_checkpoint_whose_scores_are_gone_is_passed_over(name: str, interrupted: Path, finished_run: Path) -> None:
    (interrupted / name).write_bytes(b"")
    execute(interrupted)
    assert f"{name} is shorter than it was" in (interrupted / "run.log").read_text()
    assert differences(interrupted, finished_run) == []


def test_a_finished_run_is_not_run_again(finished_run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished_run, tmp_path / "run")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert execute(folder) == json.loads((folder / "result.json").read_text())
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_how_often_a_run_is_saved_changes_no_result(
    settings: dict[str, Any], finished_run: Path, tmp_path: Path
) -> None:
    folder = prepared(tmp_path / "run", settings | {"checkpoint.steps": 3})
    execute(folder)
    assert differences(folder, finished_run) == []
    saved = re.findall(r"checkpoint: task (\d), epoch (\d), step (\d);", (folder / "run.log").read_text())
    assert "".join(map("".join, saved)) == "003 013 100 103 112 200 211 300".replace(" ", "")


@pytest.mark.parametrize(
    ("file", "given", "changed", "message"),
    [
        ("config.yaml", "epochs: 2", "epochs: 3", "training.epochs: was 2, now 3"),
        ("config.yaml", "train: 60", "train: 61", "dataset.train: was 60, now 61"),
        ("run.json", '"seed": 3', '"seed": 4', "seed: was 3, now 4"),
    ],
)
def test_another_run_is_refused_by_name(file: str, given: str, changed: str, message: str, interrupted: Path) -> None:
    before = (interrupted / "metrics.jsonl").read_bytes()
    text = (interrupted / file).read_text()
    assert given in text
    (interrupted / file).write_text(text.replace(given, changed))
    with pytest.raises(RunError, match=rf"no longer the run that was interrupted:\n(.*\n)*.*{message}"):
        execute(interrupted)
    assert (interrupted / "metrics.jsonl").read_bytes() == before


def test_changed_images_are_refused(interrupted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clsim.data.digits.Digits.fingerprint", lambda self: "other images")
    with pytest.raises(RunError, match=r'data_fingerprint: was "\w{12}", now "other images"'):
        execute(interrupted)


@pytest.mark.parametrize(
    ("strategy", "more"),
    [
        ("joint", {}),
        ("rebll", {"training.model.freeze": "backbone", "training.model.cache_features": True}),
        ("er", {"training.augmentation": {"flip": 0.5, "cutout": 0.3}, "training.sampler": "class-aware"}),
    ],
    ids=["joint", "cached features", "augmented"],
)
def test_other_kinds_of_runs_go_on_to_the_same_end(
    strategy: str, more: dict[str, Any], settings: dict[str, Any], tmp_path: Path
) -> None:
    whole = prepared(tmp_path / "whole", settings | more, strategy)
    execute(whole)
    cut = prepared(tmp_path / "cut", settings | more, strategy)
    assert "saved at task 1, epoch 1, step" in interrupt(cut)
    execute(cut)
    assert differences(cut, whole) == []


def test_a_run_that_is_scored_between_steps_goes_on_to_the_same_end(settings: dict[str, Any], tmp_path: Path) -> None:
    more, heard = settings | {"evaluation.every": {"images": 20}}, Stopper(0)
    whole = prepared(tmp_path / "whole", more)
    execute(whole, heard)
    passes = [(line["phase"], line["task"]) for line in heard.lines]
    cut = prepared(tmp_path / "cut", more)
    with pytest.raises(KeyboardInterrupt, match="saved at task 1, epoch 0, step 2"):  # which the first pass follows
        execute(cut, Stopper(1 + passes.index(("images-eval", 1))))
    execute(cut)
    assert differences(cut, whole) == []


def test_changed_hidden_labels_are_refused_where_the_stream_is_made_of_them(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`joint` trains on what the scenario's own plan does not show."""
    folder = prepared(tmp_path / "joint", settings, strategy="joint")
    with pytest.raises(KeyboardInterrupt):
        execute(folder, Stopper(1))
    truth = Scenario.truth

    def changed(self: Scenario) -> Any:
        values = truth(self).copy()
        values[0] = 1 - values[0]
        return values

    monkeypatch.setattr(Scenario, "truth", changed)
    with pytest.raises(RunError, match=r'training_plan_sha256: was "\w{12}", now "\w{12}"'):
        execute(folder)


def test_changed_code_goes_on_and_is_told(
    interrupted: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("clsim.running.run_identity.code_version", lambda: "0" * 64)
    execute(interrupted)
    assert "resumed with other code, so the result may differ: code.clsim: was" in (interrupted / "run.log").read_text()


def test_resuming_what_is_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a run folder"):
        clsim.resume(tmp_path)
