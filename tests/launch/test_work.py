"""Workers on prepared comparisons: with small processes, and two real ones beside each other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import clsim
from clsim.children import module_command
from clsim.errors import RunError
from clsim.files import write_json
from clsim.launch import engines
from clsim.launch import work as work_module
from clsim.launch.prepared_comparison import FILE, PreparedComparison, PreparedRun, read_prepared
from clsim.running import folder_lock
from clsim.running.run_folder import RunFolder
from tests.fixtures.small_runs import RUN

pytestmark = pytest.mark.usefixtures("as_in_a_terminal")

ELSEWHERE = json.dumps({"pid": 7, "host": "elsewhere", "boot": "another", "token": "its own"})
COUNT = '(folder / "tries").open("a").write("x"); '


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A prepared comparison, by what the process of each run does."""
    (tmp_path / "small_run.py").write_text(RUN)
    monkeypatch.setattr(engines, "MODULE", "small_run")
    monkeypatch.setattr(work_module, "STARTER_SUITED", False)
    monkeypatch.setattr(work_module, "LOOK_EVERY", 0.2)
    monkeypatch.setattr(work_module, "other_versions", lambda _: [])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))

    def make(shared: str | None = None, threads: int = 1, **codes: str) -> Path:
        home = tmp_path / "home"
        for name, code in codes.items():
            folder = home / name / "seed0"
            folder.mkdir(parents=True)
            (folder / "code").write_text(code)
            write_json(RunFolder(folder).identity, {})
        runs = tuple(PreparedRun(f"{name}/seed0", 2, 2, shared) for name in codes)
        write_json(home / FILE, asdict(PreparedComparison("cpu", threads, tuple(codes), (), None, (), runs)))
        return home

    return make


def names(folders: Any) -> list[str]:
    return sorted(folder.parent.name for folder in folders)


def test_a_worker_takes_what_is_free_and_leaves_what_others_have(home) -> None:
    code = COUNT + "finish()"
    place = home(free=code, held=code, done=code, raced="sys.exit(11)", other='print(f"{folder}: no"); sys.exit(10)')
    RunFolder(place / "held" / "seed0").lock.write_text(ELSEWHERE)
    (place / "done" / "seed0" / "result.json").write_text("{}")
    comparison = clsim.work(place, workers=2)
    assert names(comparison.interrupted) == ["held", "raced"]
    assert {folder.parent.name: text.partition(";")[0] for folder, text in comparison.failed.items()} == {"other": "no"}
    assert names(path.parent for path in place.glob("*/*/tries")) == ["free"]
    assert RunFolder(place / "held" / "seed0").lock.read_text() == ELSEWHERE
    assert not list(place.glob("*/*/error.txt")), "nothing has failed for the others"


def test_before_a_start_a_worker_looks_at_that_run_alone(home, monkeypatch) -> None:
    place = home(**{f"run{number}": "finish()" for number in range(6)})
    looks: list[Path] = []
    really = work_module._error_time
    monkeypatch.setattr(work_module, "_error_time", lambda folder: (looks.append(folder), really(folder))[1])
    assert clsim.work(place, workers=6).interrupted == ()
    assert len(looks) <= 4 * 6, "a thousand runs are not looked at a thousand times"


def test_workers_of_several_machines_begin_at_places_of_their_own(monkeypatch) -> None:
    folders = [Path(f"seed{number}") for number in range(1000)]
    begins = set()
    for number in range(64):
        monkeypatch.setattr(work_module.socket, "gethostname", lambda number=number: f"node{number}")
        ordered = work_module._from_own_place(folders)
        assert sorted(ordered) == sorted(folders)
        begins.add(ordered[0])
    assert len(begins) > 55


def test_until_empty_takes_a_lost_run_over_and_tries_no_failed_one_again(home, monkeypatch) -> None:
    monkeypatch.setattr(folder_lock, "STALE", 2.0)
    place = home(lost=COUNT + "finish()", fails=COUNT + "sys.exit(2)", elsewhere="finish()")
    elsewhere = RunFolder(place / "elsewhere" / "seed0")
    RunFolder(place / "lost" / "seed0").lock.write_text(ELSEWHERE)
    elsewhere.lock.write_text(ELSEWHERE)

    def fail() -> None:
        time.sleep(1)
        elsewhere.error.write_text("RunError: no images\n")
        elsewhere.lock.unlink()

    thread = threading.Thread(target=fail)
    thread.start()
    comparison = clsim.work(place, until_empty=True, workers=3)
    thread.join()
    assert comparison.interrupted == ()
    assert names(comparison.failed) == ["elsewhere", "fails"]
    assert comparison.failed[elsewhere.path] == f"RunError: no images; see {elsewhere.run_log}"
    assert (place / "lost" / "seed0" / "result.json").exists()
    assert [path.read_text() for path in place.glob("*/*/tries")] == ["x", "x"]


def test_a_run_waits_while_another_machine_trains_the_first_task_that_it_shares(home) -> None:
    place = home("key", here=COUNT + '(folder / "when").write_text(str(time.time())); finish()', there="finish()")
    there = RunFolder(place / "there" / "seed0")
    there.lock.write_text(ELSEWHERE)
    freed: list[float] = []

    def free() -> None:
        time.sleep(1.5)
        freed.append(time.time())
        there.result.write_text("{}")
        there.lock.unlink()

    thread = threading.Thread(target=free)
    thread.start()
    comparison = clsim.work(place)
    thread.join()
    assert comparison.interrupted == ()
    assert float((place / "here" / "seed0" / "when").read_text()) > freed[0]


def test_a_machine_that_cannot_make_the_same_numbers_refuses_at_once(home, monkeypatch) -> None:
    with pytest.raises(RunError, match=r"no prepared comparison is here \(no prepared.json\)"):
        clsim.work(home(threads=4096, a="finish()").parent)
    place = home(threads=4096)
    with pytest.raises(RunError, match=r"prepared with 4096 threads each; this machine has \d+ cores"):
        clsim.work(place)
    monkeypatch.undo()
    write_json(RunFolder(place / "a" / "seed0").identity, {"torch": "2.6.0"})
    write_json(place / FILE, asdict(read_prepared(place)) | {"runs": [asdict(PreparedRun("a/seed0", 1, 1, None))]})
    with pytest.raises(RunError, match=r'not carried out here, where .*\n(?s:.*)torch: was "2.6.0", now "'):
        clsim.work(place)


@pytest.mark.slow
def test_two_workers_share_the_runs_and_make_the_numbers_of_single_ones(
    tiny_overrides: dict[str, Any], tmp_path: Path
) -> None:
    arguments: dict[str, Any] = {"overrides": tiny_overrides | {"threads": 1}, "device": "cpu"}
    home = clsim.compare("digits-b0c2", "finetune,er", out=tmp_path, prepare_only=True, **arguments).folder
    command = module_command("clsim", "work", str(home), "--until-empty", "--workers", "1", "--quiet")
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in "ab"]
    for name in ("finetune", "er"):
        clsim.run("digits-b0c2", name, out=tmp_path / "alone", **arguments)
    for worker in workers:
        said, _ = worker.communicate(timeout=300)
        assert worker.returncode == 0, said
        assert f"report: {home}/report.html" in said
    for name in ("finetune", "er"):
        made, alone = home / name / "seed0", tmp_path / "alone" / "digits-b0c2" / name / "seed0"
        for file in (RunFolder.metrics, RunFolder.class_values, RunFolder.trained_model, RunFolder.identity):
            assert (made / file).read_bytes() == (alone / file).read_bytes()
        assert (made / RunFolder.run_log).read_text().count("finished: last mAP") == 1
    assert not list(home.glob(".first-task"))
