"""A run that clsim 0.1.0 has begun is not resumed, in one line, and is still shown.

`begun_0_1_0` was made by version 0.1.0 and Ctrl-C, `clsim run digits-b0c2 --strategy er --set training.epochs=1 --set
dataset.train=400 --set dataset.test=100 --set checkpoint.steps=2`, without the states of its checkpoints.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from clsim import cli
from clsim.report import tensorboard_server
from clsim.report.results import load_results
from clsim.running.checkpoint_files import FORMAT
from clsim.running.run_folder import RunFolder

BEGUN = Path(__file__).parent / "begun_0_1_0"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BEGUN, tmp_path / "digits-b0c2" / "er" / "seed0"))


def contents(folder: Path) -> dict[str, bytes]:
    written = {RunFolder.error, RunFolder.run_log}
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name not in written}


def test_resume_refuses_it_in_one_line_and_changes_nothing_of_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(folder)
    monkeypatch.setattr(sys, "argv", ["clsim", "resume", str(folder)])
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert capsys.readouterr().err == (
        f"{folder}/checkpoint/000003.pt: checkpoint format is 2, this version of clsim reads {FORMAT}; "
        "resume the run with the version that began it, or begin it again with --overwrite\n"
    )
    assert contents(folder) == before


def test_a_report_names_it_among_the_runs_without_a_result(folder: Path, finished_run: Path) -> None:
    shutil.copytree(finished_run, folder.parents[1] / "finetune" / "seed0")
    unfinished = load_results(folder.parents[1]).unfinished
    assert [(run.strategy, run.seed) for run in unfinished] == [("er", 0)]


def test_tensorboard_shows_its_curves(folder: Path) -> None:
    assert tensorboard_server.runs_below(folder.parents[1]) == [folder]
