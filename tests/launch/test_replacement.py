"""Runs that are there make room for new ones, and nothing is lost before the new ones are whole."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from clsim.errors import RunError
from clsim.launch.replacement import set_aside
from clsim.running.folder_lock import locked
from clsim.running.prepared_run import open_run, prepare
from clsim.running.run_spec import RunSpec
from clsim.scenario import Scenario


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
