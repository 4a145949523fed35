"""A checkpoint is whole or is not used: its parts are written by two processes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.soak import differences
from clsim.errors import RunError
from clsim.running import checkpointer
from clsim.running.checkpoint_files import newest_checkpoint
from clsim.running.checkpointer import Checkpointer
from clsim.running.execution import execute
from clsim.running.run_folder import RunFolder
from clsim.running.scoring.desk import Desk
from clsim.training.template import MultiLabelTemplate
from tests.fixtures import prepared_runs
from tests.fixtures.prepared_runs import prepared

pytestmark = pytest.mark.usefixtures("as_in_a_terminal")
settings = prepared_runs.settings


class Killed(BaseException):
    """Ends a run as a kill does."""


@pytest.mark.parametrize(("process", "parts"), [("scores", ["000002.pt"]), ("trains", ["000002.pt", "000002.scores"])])
def test_a_kill_before_a_checkpoint_is_whole_leaves_the_one_before(
    process: str,
    parts: list[str],
    settings: dict[str, Any],
    finished_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The process that scores is killed before it writes its part, or the one that trains before the header."""
    save, finish = Desk.save, checkpointer.finish_checkpoint

    def save_or_die(desk: Desk, path: Path, growing: Any) -> Any:
        if process == "scores" and path.name == "000002.pt":
            os.kill(os.getpid(), signal.SIGKILL)
        return save(desk, path, growing)

    def finish_or_die(path: Path, facts: dict[str, Any]) -> None:
        if path.name != "000001.pt":
            raise Killed
        finish(path, facts)

    folder = prepared(tmp_path / "run", settings)
    with monkeypatch.context() as patch:
        patch.setattr(Desk, "save", save_or_die)
        patch.setattr(checkpointer, "finish_checkpoint", finish_or_die)
        with pytest.raises((RunError, Killed)) as end:
            execute(folder)
    said = "" if process == "trains" else "the process that scores the run has ended (killed by signal 9)"
    assert said in str(end.value)
    names = sorted(path.name for path in (folder / RunFolder.checkpoint).glob("000002*"))
    assert names == parts
    execute(folder)
    assert "goes on from " + str(folder / RunFolder.checkpoint / "000001.pt") in (folder / "run.log").read_text()
    assert differences(folder, finished_run) == []


def test_the_next_task_trains_while_a_checkpoint_lacks_its_scores(
    settings: dict[str, Any], finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = prepared(tmp_path / "run", settings)
    save, cut, trained = Desk.save, Checkpointer.__call__, tmp_path / "trained"

    def held(desk: Desk, path: Path, growing: Any) -> Any:
        deadline = time.monotonic() + 60
        while path.name == "000001.pt" and not trained.exists():
            if time.monotonic() > deadline:
                raise RunError("the next task waits for its scores")
            time.sleep(0.01)
        return save(desk, path, growing)

    def noted(checkpointer: Checkpointer, template: MultiLabelTemplate) -> None:
        cut(checkpointer, template)
        if template.position.place == (1, 0, 2):
            assert newest_checkpoint(folder) is None
            trained.touch()

    monkeypatch.setattr(Desk, "save", held)
    monkeypatch.setattr(Checkpointer, "__call__", noted)
    execute(folder)
    assert differences(folder, finished_run) == []
