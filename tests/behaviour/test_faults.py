"""Faults of a run: each ends in one clear error, and nothing is lost."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

import clsim
from benchmarks.soak import differences
from clsim.errors import RunError
from clsim.report.mean_curves import FILE
from clsim.report.writing import write_report
from clsim.running.checkpoint_files import newest_checkpoint
from clsim.running.execution import execute
from clsim.running.prepared_run import prepare
from clsim.running.run_log import run_log
from clsim.running.run_spec import RunSpec
from clsim.scenario import load_scenario

FullFor = Callable[[str], AbstractContextManager[None]]
FILES = (
    "environment.json",
    "class_values.json",
    "scores.json",
    "events.out.tfevents.clsim",
    "metrics.jsonl",
    "class_values.f64",
    "timing.jsonl",
    "scores.f32",
    "000001.pt",
    "000001.scores",
    "000002.json",
    "memory.csv",
    "plan.json.gz",
    "checksums.json",
    "result.json",
)
"""What a run writes, in this order."""

EXPLOSIVE = """
import clsim
import torch
from avalanche.core import SupervisedPlugin


class Explosive(clsim.Strategy):
    name = "explosive"

    def plugins(self, context):
        return [Bomb()]


class Bomb(SupervisedPlugin):
    def after_update(self, strategy, **kwargs):
        if (strategy.position.task, strategy.position.epoch, strategy.position.step) == (1, 0, 2):
            strategy.model.head.bias.data[0] = float("nan")

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass
"""


def prepared(folder: Path, settings: dict[str, Any], strategy: str = "lwf+er") -> Path:
    """A run folder as `finished_run` had one, to be carried out."""
    prepare(folder, load_scenario("digits-b0c2", settings), RunSpec(strategy, "lwf+er", 3), 1)
    return folder


def test_a_disk_that_is_full_for_any_file_is_named_and_nothing_is_lost(
    tiny_overrides: dict[str, Any], full_for: FullFor, finished_run: Path, tmp_path: Path
) -> None:
    """One run meets a full disk at each of its files in turn, and goes on after each."""
    folder = prepared(tmp_path / "run", tiny_overrides)
    (folder / "lock").symlink_to("/dev/full")
    with pytest.raises(RunError, match=rf"^{folder}/lock: No space left on device$"):
        execute(folder)
    (folder / "lock").unlink(missing_ok=True)
    for name in FILES:
        with full_for(name), pytest.raises(RunError, match=rf"^{folder}/(\w+/)?{name}: No space left on device$"):
            execute(folder)
        assert name in (folder / "error.txt").read_text()
        assert not list(folder.rglob("*.part"))
    execute(folder)
    assert differences(folder, finished_run) == []
    gone_on_from = re.findall(r"goes on from \S+/(\d+)\.pt", (folder / "run.log").read_text())
    assert gone_on_from == ["000001", "000002", "000003", "000003", "000003"]


def test_a_full_disk_for_the_log_ends_the_run_too(tiny_overrides: dict[str, Any], tmp_path: Path) -> None:
    folder = prepared(tmp_path / "run", tiny_overrides)
    (folder / "run.log").symlink_to("/dev/full")
    with pytest.raises(RunError, match=r"run\.log: No space left on device"):
        execute(folder)


def test_a_full_disk_while_a_run_is_prepared_is_named(
    tiny_overrides: dict[str, Any], full_for: FullFor, tmp_path: Path
) -> None:
    for name in ("run.json", "config.yaml"):
        with full_for(name), pytest.raises(RunError, match="cannot be written: No space left on device"):
            prepared(tmp_path / name, tiny_overrides)


def test_a_full_disk_for_any_file_of_a_report_is_named_and_the_report_before_stays(
    comparison: clsim.Comparison, full_for: FullFor, tmp_path: Path
) -> None:
    whole = {path.name: path.read_bytes() for path in comparison.report(tmp_path).parent.iterdir() if path.is_file()}
    assert set(whole) == {"report.html", "results.csv", "statistics.csv", "classes.csv", "results.md", "results.tex"}
    for name in whole:
        with full_for(name), pytest.raises(RunError, match=rf"^{tmp_path}/{name}: No space left on device$"):
            comparison.report(tmp_path)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == whole


def test_a_full_disk_for_the_mean_curves_is_named(
    comparison: clsim.Comparison, full_for: FullFor, tmp_path: Path
) -> None:
    home = shutil.copytree(comparison.folder, tmp_path / "runs")
    name = FILE
    with full_for(name), pytest.raises(RunError, match=rf"{name}: No space left on device$"):
        write_report(home)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 3 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.parametrize("free", [100_000, 900_000, 1_700_000])
def test_a_run_on_a_really_full_disk_goes_on_once_there_is_room(
    free: int, small_disk: Path, tiny_overrides: dict[str, Any], finished_run: Path
) -> None:
    folder = prepared(small_disk / "run", tiny_overrides)
    filler = small_disk / "filler"
    usage = os.statvfs(small_disk)
    filler.write_bytes(bytes(usage.f_bavail * usage.f_frsize - free))
    with pytest.raises(RunError, match=rf"^{folder}/\S+: No space left on device$"):
        execute(folder)
    filler.unlink()
    execute(folder)
    assert differences(folder, finished_run) == []


def test_a_folder_that_cannot_be_written_is_named(small_disk: Path, tiny_overrides: dict[str, Any]) -> None:
    folder = prepared(small_disk / "run", tiny_overrides)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(RunError, match=rf"^{folder}/lock: Read-only file system$"):
        clsim.resume(folder)
    with pytest.raises(RunError, match="cannot be written: Read-only file system"):
        clsim.run("digits-b0c2", "er", overrides=tiny_overrides, out=small_disk)
    with pytest.raises(RunError, match="Read-only file system"):
        clsim.compare("digits-b0c2", ["er"], overrides=tiny_overrides, out=small_disk)


def test_weights_that_are_not_finite_are_never_saved(tiny_overrides: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(EXPLOSIVE)
    folder = prepared(tmp_path / "run", tiny_overrides | {"checkpoint.steps": 1}, f"{tmp_path}/own.py:Explosive")
    with pytest.raises(RunError, match=r"head\.bias is not finite after task 1, epoch 0, step 3; training stopped"):
        execute(folder)
    good = newest_checkpoint(folder)
    assert good is not None
    assert good.header["position"] == {"task": 1, "epoch": 0, "step": 2, "started": True}
    assert all(bool(value.isfinite().all()) for value in good.state()["model"].values())


def test_a_clock_that_is_set_back_while_a_run_rests_disorders_no_curve(
    tiny_overrides: dict[str, Any], finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop_once(line: dict[str, Any]) -> None:
        if line["step"] == 1 and line["phase"] == "eval":
            signal.raise_signal(signal.SIGTERM)

    folder = prepared(tmp_path / "run", tiny_overrides)
    with pytest.raises(KeyboardInterrupt):
        execute(folder, stop_once)
    monkeypatch.setattr("time.time", lambda: 1e9)
    execute(folder)
    assert differences(folder, finished_run) == []


def test_a_file_name_that_is_no_text_does_not_end_a_run_that_logs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("clsim"), "propagate", False)  # what pytest captures must be text
    with run_log(tmp_path / "run.log"):
        logging.getLogger("clsim").warning("left out: %s", "a\udcff.jpg")
    assert "left out: a\\udcff.jpg" in (tmp_path / "run.log").read_text()


@pytest.mark.slow
def test_a_full_disk_for_what_a_run_prints_does_not_end_it(tiny_overrides: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text(LOUD)
    folder = prepared(tmp_path / "run", tiny_overrides | {"training.epochs": 1}, f"{tmp_path / 'loud.py'}:Loud")
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "clsim.running.execution", str(folder)]
        assert subprocess.run(command, stdout=full, stderr=full, timeout=200).returncode == 0
    assert (folder / "result.json").is_file()


LOUD = """
import sys

import clsim


class Loud(clsim.Strategy):
    def plugins(self, context):
        print("made", flush=True)
        print("made", file=sys.stderr, flush=True)
        return []
"""
