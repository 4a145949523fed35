"""A run whose machine was lost goes on elsewhere; a machine that only seemed lost writes nothing more."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import clsim
from clsim.running.checkpoint_files import newest_checkpoint
from clsim.running.execution import execute, main
from clsim.running.folder_lock import IN_USE, STALE, LockLost
from clsim.running.prepared_run import prepare
from clsim.running.run_folder import RunFolder
from clsim.running.run_spec import RunSpec
from clsim.scenario import Scenario

ELSEWHERE = json.dumps({"pid": 7, "host": "elsewhere", "boot": "another", "token": "its own"})


def test_a_run_that_is_taken_over_ends_at_its_next_checkpoint_and_goes_on_when_the_other_is_lost(
    tiny: Scenario, tmp_path: Path, capsys
) -> None:
    files = RunFolder(tmp_path / "run")
    prepare(files.path, tiny, RunSpec("finetune", "finetune", 0, "cpu"), 1)
    before: list[Any] = []

    def take_over(line: dict[str, Any]) -> None:
        found = newest_checkpoint(files.path)  # it may become whole only after the first step of the next task
        if line["task"] == 1 and found is not None and not before:
            before.append(found)
            files.lock.write_text(ELSEWHERE)

    with pytest.raises(LockLost, match="taken over by process 7 on elsewhere"):
        execute(files.path, take_over)
    assert newest_checkpoint(files.path) == before[0] != None  # noqa: E711  it has one
    assert not files.error.exists()
    assert not files.finished
    assert files.lock.read_text() == ELSEWHERE
    assert main([str(files.path)]) == IN_USE
    assert "in use by process 7 on elsewhere, or left by it; its last sign of life is" in capsys.readouterr().err
    os.utime(files.lock, (files.lock.stat().st_mtime - STALE - 1,) * 2)
    clsim.resume(files.path)
    assert "goes on from" in files.run_log.read_text()
    assert not files.lock.exists()


def test_the_next_attempt_of_an_engine_goes_on_at_once(tiny: Scenario, tmp_path: Path) -> None:
    files = RunFolder(tmp_path / "run")
    prepare(files.path, tiny, RunSpec("finetune", "finetune", 0, "cpu"), 1)
    files.lock.write_text(ELSEWHERE[:-1] + ', "order": "mine"}')
    assert main([str(files.path), "--order", "another"]) == IN_USE
    assert main([str(files.path), "--order", "mine"]) == 0
    assert files.finished
