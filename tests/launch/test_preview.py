"""`--dry-run`: what a comparison would do, told without doing it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import clsim
from clsim.errors import ClsimError
from clsim.launch.comparison import preview
from clsim.launch.forecast import forecast
from clsim.launch.run_state import RunState


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def home(comparison: clsim.Comparison, tmp_path: Path) -> Path:
    """A comparison in which joint with seed 1 was interrupted after its first task."""
    home = tmp_path / "digits-b0c2"
    shutil.copytree(comparison.folder, home)
    run = home / "joint" / "seed1"
    (run / "result.json").unlink()
    for name in ("metrics.jsonl", "timing.jsonl"):
        lines = (run / name).read_text().splitlines(keepends=True)
        (run / name).write_text("".join(line for line in lines if '"task": 0' in line))
    return home


def test_it_says_what_each_run_becomes_and_writes_nothing(home: Path, tiny_overrides: dict) -> None:
    before = files(home)
    shown = preview(
        "digits-b0c2", "joint,finetune", seeds=[0, 1, 2], overrides=tiny_overrides, out=home.parent, workers=2
    )
    what = {
        folder.relative_to(home).as_posix(): text
        for folder, (_, text, _) in zip(shown.states, shown.rows(), strict=True)
    }
    assert what == {
        "joint/seed0": "reused",
        "finetune/seed0": "reused",
        "joint/seed1": "continued at 2/6 epochs",
        "finetune/seed1": "reused",
        "joint/seed2": "trained: 3 tasks of 2 epochs",
        "finetune/seed2": "trained: 3 tasks of 2 epochs",
    }
    assert shown.summary().startswith("3 of 6 runs to train, 2 at a time: about 0:")
    assert files(home) == before


def test_the_time_follows_the_recorded_paces_of_any_run_of_the_scenario(home: Path, tiny_overrides: dict) -> None:
    for run in home.glob("finetune/seed*"):
        lines = '{"task": 0, "train_seconds": 110.0, "eval_seconds": 10.0}\n'
        (run / "timing.jsonl").write_text(lines)  # 60 seconds per epoch
        (run / "checksums.json").unlink()
    shown = preview("digits-b0c2", ["finetune"], seeds=[7, 8], overrides=tiny_overrides, out=home.parent, workers=1)
    assert [time for *_, time in shown.rows()] == ["6:00", "6:00"]
    assert shown.summary() == "2 of 2 runs to train, 1 at a time: about 12:00"
    anew = preview("digits-b0c2", ["finetune"], overrides=tiny_overrides, out=home.parent, overwrite=True)
    assert anew.rows()[0][1:] == ("trained in place of the run that is there: 3 tasks of 2 epochs", "6:00")
    finished = preview("digits-b0c2", ["finetune"], overrides=tiny_overrides, out=home.parent)
    assert finished.summary() == "nothing to train: all runs are finished"


def test_without_any_run_it_does_not_know_how_long(tmp_path: Path, tiny_overrides: dict) -> None:
    shown = preview("digits-b0c2", "er", overrides=tiny_overrides | {"memory.budget": {"total": 20}}, out=tmp_path)
    assert shown.summary() == f"1 of 1 runs to train, 1 at a time: no run in {tmp_path / 'digits-b0c2'} tells how long"
    assert list(tmp_path.iterdir()) == []


def test_it_refuses_what_the_comparison_would_refuse(home: Path, tiny_overrides: dict) -> None:
    with pytest.raises(ClsimError, match=r"another run is there \(training\.epochs: was 2, now 3\)"):
        preview("digits-b0c2", "finetune", overrides=tiny_overrides | {"training.epochs": 3}, out=home.parent)
    with pytest.raises(ClsimError, match=r"^unknown strategy 'finetun'"):
        preview("digits-b0c2", "finetun", out=home.parent)
    with pytest.raises(TypeError, match="seed"):
        preview("digits-b0c2", "finetune", seed=3)


def test_runs_that_wait_for_several_workers_end_earlier() -> None:
    states = {Path(f"er/seed{seed}"): RunState(10, 1, "waiting", recorded_pace=1.0) for seed in range(4)}
    assert [forecast(states, workers).all for workers in (1, 2, 4, 8)] == [40.0, 20.0, 10.0, 10.0]
