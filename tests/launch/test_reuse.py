"""A comparison on a folder with earlier runs: what it keeps, what it goes on with, what it refuses."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import clsim
from clsim.errors import RunError
from clsim.launch import prepared_jobs as prepared_jobs_module
from clsim.launch.pool import Pool
from clsim.launch.run_state import RunState
from clsim.running import run_identity as identity_module
from clsim.running.folder_lock import locked
from clsim.running.scoring.process import SUITED
from clsim.scenario import Scenario

pytestmark = pytest.mark.usefixtures("as_in_a_terminal")

MORTAL = """
import os, signal
from pathlib import Path

import clsim
from avalanche.training.plugins import SupervisedPlugin


class Dies(SupervisedPlugin):
    # as if the kernel wanted its memory, once, in the third task, when the checkpoint of the first is whole
    died = Path(__file__).with_name("died")

    def after_training_epoch(self, strategy, **kwargs):
        if strategy.position.task == 2 and not self.died.exists():
            self.died.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


class Mortal(clsim.Strategy):
    name = "mortal"

    def plugins(self, context):
        return [Dies()]
"""
SLOW = """
import time

import clsim
from avalanche.training.plugins import SupervisedPlugin


class Slow(clsim.Strategy):
    name = "slow"

    class Options(clsim.Options):
        seconds: float = 0.2

    def plugins(self, context):
        return [Sleeps()]


class Sleeps(SupervisedPlugin):
    def after_training_iteration(self, strategy, **kwargs):
        time.sleep(0.2)

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass
"""


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is started fails the test."""

    def refuse(self: Pool, states: dict[Path, RunState]) -> None:
        assert not [folder for folder, state in states.items() if state.status == "waiting"]

    monkeypatch.setattr(Pool, "run", refuse)


@pytest.fixture
def again(comparison: clsim.Comparison, tiny_overrides: dict, no_process: None) -> Callable[..., clsim.Comparison]:
    """The session's comparison once more, with other arguments or overrides."""

    def compare(overrides: dict[str, Any] | None = None, **arguments: Any) -> clsim.Comparison:
        changed = tiny_overrides | (overrides or {})
        both = {"seeds": [0, 1], "out": comparison.folder.parent, "workers": 2} | arguments
        return clsim.compare("digits-b0c2", ["joint", "finetune"], overrides=changed, **both)

    return compare


def test_finished_runs_are_reused(again, comparison: clsim.Comparison) -> None:
    before = {path: path.stat().st_mtime_ns for path in comparison.folder.rglob("*/seed*/*")}
    result = again()
    assert sorted(result.reused) == sorted(comparison.folder.glob("*/seed*"))
    assert (result.failed, result.interrupted) == ({}, ())
    assert result.table() == comparison.table()
    assert {path: path.stat().st_mtime_ns for path in comparison.folder.rglob("*/seed*/*")} == before


def test_automatic_threads_are_those_of_the_runs_that_are_there(again, tiny_overrides: dict) -> None:
    assert len(again({"threads": "auto"}, workers=1).reused) == 4


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"training.epochs": 3}, "training.epochs: was 2, now 3"),
        ({"threads": 2}, "threads: was 1, now 2"),
        ({"strategy.joint.tasks": "last"}, 'strategy.joint.tasks: was "all", now "last"'),
        ({"dataset.train": 61}, "dataset.train: was 60, now 61; plan_sha256: was .[0-9a-f]{12}., now .[0-9a-f]{12}."),
    ],
)
def test_another_run_is_never_mixed_in_and_the_error_says_what_differs(again, overrides: dict, message: str) -> None:
    with pytest.raises(RunError, match=rf"joint/seed0: another run is there \(.*{message}.*use --overwrite"):
        again(overrides)


def test_other_code_makes_another_run(again, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity_module, "code_version", lambda: "0" * 64)
    with pytest.raises(RunError, match=r'code.clsim: was "[0-9a-f]{12}", now "000000000000"'):
        again()


def test_other_versions_make_another_run(again, monkeypatch: pytest.MonkeyPatch) -> None:
    really = identity_module.version
    monkeypatch.setattr(identity_module, "version", lambda name: "1.0" if name == "torch" else really(name))
    with pytest.raises(RunError, match=r'torch: was "[^"]+", now "1.0"'):
        again()


def test_a_run_that_was_continued_by_other_code_equals_neither(tmp_path: Path) -> None:
    old, new = {"code.clsim": "a" * 64, "seed": 0}, {"code.clsim": "b" * 64, "seed": 0}
    identity_module.record_identity(tmp_path, old, goes_on=False)
    identity_module.record_identity(tmp_path, old, goes_on=True)
    assert identity_module.read_identity(tmp_path) == old
    for _ in range(2):
        identity_module.record_identity(tmp_path, new, goes_on=True)
    there = identity_module.read_identity(tmp_path)
    for asked in (old, new):
        (text,) = identity_module.differences(there, asked)
        assert text.startswith('code.clsim: was "aaaaaaaaaaaa, then bbbbbbbbbbbb", now "')
    identity_module.record_identity(tmp_path, new, goes_on=False)
    assert identity_module.read_identity(tmp_path) == new


def test_descriptions_and_how_often_a_run_is_saved_are_not_compared(again) -> None:
    again({"source": "someone", "checkpoint.minutes": 1.0})


def test_one_run_that_differs_refuses_the_whole_comparison(
    comparison: clsim.Comparison, tiny_overrides: dict, tmp_path: Path, no_process: None
) -> None:
    shutil.copytree(comparison.folder / "finetune", tmp_path / "digits-b0c2" / "finetune")
    with pytest.raises(RunError, match="finetune/seed0: another run is there"):
        clsim.compare(
            "digits-b0c2", ["lwf", "finetune"], overrides=tiny_overrides | {"training.epochs": 1}, out=tmp_path
        )
    assert not (tmp_path / "digits-b0c2" / "lwf").exists()


def test_a_run_that_does_not_say_what_made_it_is_not_reused(
    comparison: clsim.Comparison, tiny_overrides: dict, tmp_path: Path
) -> None:
    copy = shutil.copytree(comparison.folder / "finetune", tmp_path / "digits-b0c2" / "finetune")
    (copy / "seed0" / "identity.json").unlink()
    with pytest.raises(RunError, match=r"does not say what made it \(no identity.json\); use --overwrite"):
        clsim.compare("digits-b0c2", ["finetune"], overrides=tiny_overrides, out=tmp_path)


def test_overwrite_keeps_every_old_run_until_all_new_ones_are_prepared(
    comparison: clsim.Comparison,
    tiny_overrides: dict,
    tmp_path: Path,
    no_process: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = shutil.copytree(comparison.folder, tmp_path / "digits-b0c2")
    really = prepared_jobs_module.prepare

    def once(folder: Path, *others: Any) -> None:
        if folder.parent.name == "finetune":
            raise RunError(f"{folder}: cannot be written: No space left on device")
        really(folder, *others)

    monkeypatch.setattr(prepared_jobs_module, "prepare", once)
    with pytest.raises(RunError, match="No space left"):
        clsim.compare("digits-b0c2", "joint,finetune", overrides=tiny_overrides, out=tmp_path, overwrite=True)
    assert sorted(path.parent.parent.name for path in home.glob("*/*/result.json")) == 2 * ["finetune"] + 2 * ["joint"]
    assert not list(home.glob("*/.seed*"))


def test_a_second_comparison_at_once_is_refused(again, comparison: clsim.Comparison) -> None:
    message = f"{comparison.folder}: in use by process {os.getpid()}"
    with locked(comparison.folder), pytest.raises(RunError, match=message):
        again()


def test_an_unfinished_run_that_another_process_writes_is_refused(
    comparison: clsim.Comparison, tiny_overrides: dict, tmp_path: Path, no_process: None
) -> None:
    run = shutil.copytree(comparison.folder / "finetune" / "seed0", tmp_path / "digits-b0c2" / "finetune" / "seed0")
    (run / "result.json").unlink()
    with locked(run), pytest.raises(RunError, match=f"{run}: in use by process"):
        clsim.compare("digits-b0c2", ["finetune"], overrides=tiny_overrides, out=tmp_path)


def test_a_changed_statement_of_a_users_strategy_makes_another_run_a_comment_does_not(
    tiny: Scenario, tmp_path: Path
) -> None:
    file = tmp_path / "slow.py"
    file.write_text(SLOW)
    launch = {"seed": 0, "device": "cpu", "threads": 1}
    before = identity_module.identity(tiny, f"{file}:Slow", {}, **launch)
    file.write_text(f"# slow\n{SLOW}")
    assert identity_module.identity(tiny, f"{file}:Slow", {}, **launch) == before
    file.write_text(SLOW.replace("sleep(0.2)", "sleep(0.1)"))
    after = identity_module.identity(tiny, f"{file}:Slow", {}, **launch)
    (changed,) = identity_module.differences(before, after)
    assert changed.startswith("code.strategy.slow: was ")


@pytest.fixture(scope="module")
def killed(tiny_overrides: dict, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A comparison of which a run was killed, and the same call again."""
    home = tmp_path_factory.mktemp("killed")
    (home / "mortal.py").write_text(MORTAL)
    names = [f"{home / 'mortal.py'}:Mortal", "finetune"]
    call = {"overrides": tiny_overrides, "out": home / "runs", "device": "cpu"}
    first = clsim.compare("digits-b0c2", names, **call)
    finished = (first.folder / "finetune" / "seed0" / "result.json").stat().st_mtime_ns
    second = clsim.compare("digits-b0c2", names, **call)
    whole = clsim.run("digits-b0c2", names[0], overrides=tiny_overrides, out=home / "whole", device="cpu")
    return {"first": first, "second": second, "finished": finished, "whole": whole.folder}


@pytest.mark.slow
def test_a_killed_run_is_told_with_its_reason_and_the_others_finish(killed) -> None:
    first = killed["first"]
    (reason,) = first.failed.values()
    assert reason.startswith("killed by signal 9 (SIGKILL), perhaps for want of memory")
    assert list(first.failed) == [first.folder / "mortal" / "seed0"]
    assert killed["finished"]


@pytest.mark.slow
def test_the_same_call_continues_a_killed_run_and_reuses_the_finished(killed) -> None:
    second = killed["second"]
    finetune = second.folder / "finetune" / "seed0"
    assert second.failed == {}
    assert second.reused == (finetune,)
    assert (finetune / "result.json").stat().st_mtime_ns == killed["finished"]
    assert list(second.frame["strategy"]) == ["mortal", "finetune"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["metrics.jsonl", "class_values.f64", "result.json"])
def test_a_killed_and_continued_run_equals_one_that_was_not(killed, name: str) -> None:
    continued = killed["second"].folder / "mortal" / "seed0"
    assert "goes on from" in (continued / "run.log").read_text()
    assert (continued / name).read_bytes() == (killed["whole"] / name).read_bytes()


@pytest.mark.slow
def test_ctrl_c_saves_the_runs_and_the_command_it_names_goes_on(tiny_overrides: dict, tmp_path: Path) -> None:
    """A real command, a real SIGINT, and a second comparison on the folder while the first one runs."""
    (tmp_path / "slow.py").write_text(SLOW)
    sets = [text for key, value in tiny_overrides.items() for text in ("--set", f"{key}={value}")]
    names = f"finetune,{tmp_path / 'slow.py'}:Slow"
    options = ["--strategies", names, "--workers", "1", "--device", "cpu", "--out", str(tmp_path / "runs"), *sets]
    command = [sys.executable, "-m", "clsim", "compare", "digits-b0c2", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    slow = tmp_path / "runs" / "digits-b0c2" / "slow" / "seed0"
    for _ in range(2400):
        if (slow / "metrics.jsonl").is_file() or process.poll() is not None:
            break
        time.sleep(0.05)
    with pytest.raises(RunError, match=f"in use by process {process.pid}"):
        clsim.compare("digits-b0c2", ["finetune"], overrides=tiny_overrides, out=tmp_path / "runs")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "finetune/seed0: finished" in err
    assert "slow/seed0: interrupted at " in err
    assert "| finetune | 1 |" in out
    assert "| slow |" not in out
    assert f"to continue: clsim compare digits-b0c2 --strategies {names}" in err
    assert json.loads(next((slow / "checkpoint").glob("*.json")).read_text())["position"]["started"]
    assert "Traceback" not in err
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert "finetune/seed0: reused" in done.stderr
    assert "slow/seed0: finished" in done.stderr
    assert "| slow | 1 |" in done.stdout
    steps = [json.loads(line)["step"] for line in (slow / "metrics.jsonl").read_text().splitlines() if "train" in line]
    assert steps == sorted(set(steps))


@pytest.fixture
def started(tiny_overrides: dict, tmp_path: Path) -> Iterator[tuple[list[str], subprocess.Popen[str], list[Path]]]:
    """A command that compares two slow methods, its process once both train, and their folders."""
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "slower.py").write_text(SLOW.replace('"slow"', '"slower"'))
    sets = [text for key, value in tiny_overrides.items() for text in ("--set", f"{key}={value}")]
    names = f"{tmp_path / 'slow.py'}:Slow,{tmp_path / 'slower.py'}:Slow"
    options = ["--strategies", names, "--workers", "2", "--device", "cpu", "--out", str(tmp_path / "runs"), *sets]
    command = [sys.executable, "-m", "clsim", "compare", "digits-b0c2", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    folders = [tmp_path / "runs" / "digits-b0c2" / name / "seed0" for name in ("slow", "slower")]
    for _ in range(2400):
        if all((folder / "metrics.jsonl").is_file() for folder in folders) or process.poll() is not None:
            break
        time.sleep(0.05)
    yield command, process, folders
    process.kill()
    process.communicate()


def position(folder: Path) -> dict[str, Any]:
    """Where the newest checkpoint of a run is."""
    return dict(json.loads(max((folder / "checkpoint").glob("*.json")).read_text())["position"])


@pytest.mark.slow
def test_sigterm_to_every_process_saves_all_runs(started) -> None:
    _, process, folders = started
    for _ in range(3):
        parent = psutil.Process(process.pid)
        for each in [*parent.children(recursive=True), parent]:
            each.terminate()
        time.sleep(0.1)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    for folder in folders:
        assert position(folder)["task"] or position(folder)["started"]  # between two tasks, or inside one
        assert (folder / "error.txt").read_text().startswith("interrupted and saved at task ")
        assert f"{folder.parent.name}/seed0: interrupted at " in err


@pytest.mark.slow
def test_the_same_command_continues_a_comparison_whose_process_was_killed(started) -> None:
    command, process, folders = started
    runs = psutil.Process(process.pid).children(recursive=True)
    assert len(runs) == (5 if SUITED else 3)  # the starter, two runs, and what scores them
    process.kill()
    _, alive = psutil.wait_procs(runs, timeout=60)
    assert not alive
    for folder in folders:
        assert position(folder)["task"] or position(folder)["started"]  # between two tasks, or inside one
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for folder in folders:
        assert "goes on from" in (folder / "run.log").read_text()


@pytest.mark.slow
def test_ctrl_c_in_a_single_run_says_where_it_is_saved_and_the_command_it_names_goes_on(
    tiny_overrides: dict, tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    sets = [text for key, value in tiny_overrides.items() for text in ("--set", f"{key}={value}")]
    options = ["--strategy", f"{tmp_path / 'slow.py'}:Slow", "--device", "cpu", "--out", str(tmp_path / "runs"), *sets]
    command = ["run", "digits-b0c2", *options]
    folder = tmp_path / "runs" / "digits-b0c2" / "slow" / "seed0"
    for lines in (1, 3):
        process = subprocess.Popen([sys.executable, "-m", "clsim", *command], stderr=subprocess.PIPE, text=True)
        for _ in range(2400):
            if process.poll() is not None or lines_of(folder / "metrics.jsonl") >= lines:
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
        at = position(folder)
        where = f"at task {at['task']}, epoch {at['epoch']}, step {at['step']}"
        where = where if at["started"] else f"before task {at['task']}"
        assert process.returncode == 130
        assert err.splitlines()[-1] == f"interrupted and saved {where}; go on with: clsim resume {folder}"
        assert "Traceback" not in err
        command = shlex.split(err.splitlines()[-1].partition("go on with: clsim ")[2])
        assert command == ["resume", str(folder)]


def lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.is_file() else 0
