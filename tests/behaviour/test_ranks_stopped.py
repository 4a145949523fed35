"""A run on two ranks that torchrun or a rank of it loses ends soon, and a new launch goes on to the same end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from clsim.running.run_folder import RunFolder

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("as_in_a_terminal")]

SETTINGS = {
    "dataset.train": 120,
    "dataset.test": 60,
    "stream.increment": 5,
    "training.epochs": 6,
    "training.batch_size": 16,
    "training.model.image_size": 28,
    "memory.budget.per_class": 4,
    "checkpoint.steps": 4,
    "threads": 1,
}
"""Batch norm as it is by default: synchronised."""

CLSIM = Path(sys.executable).with_name("clsim")
LAUNCHER = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]


def launch(*arguments: str, ranks: int = 2) -> subprocess.Popen[str]:
    """Start a command of clsim on ranks."""
    launcher = [sys.executable, *LAUNCHER] if ranks > 1 else []
    command = [*launcher, str(CLSIM), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def begin(out: Path) -> subprocess.Popen[str]:
    """Start a run on two ranks."""
    settings = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    given = ["digits-b0c2", "--strategy", "er+more", "--device", "cpu", "--quiet", "--out", str(out), *settings]
    return launch("run", *given)


def folder(out: Path) -> RunFolder:
    """The folder of the run."""
    return RunFolder(out / "digits-b0c2" / "er+more" / "seed0")


def wait_for_checkpoint(run: RunFolder, process: subprocess.Popen[str]) -> None:
    """Wait until the run has saved itself for the first time, inside of its first task."""
    for _ in range(4800):
        if list(run.checkpoint.glob("*.json")):
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("no checkpoint")


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes of the ranks, by rank."""
    found = [each for each in psutil.Process(process.pid).children(recursive=True) if "RANK" in each.environ()]
    return sorted(found, key=lambda each: int(each.environ()["RANK"]))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    out = tmp_path_factory.mktemp("undisturbed")
    process = begin(out)
    said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert said[0].count("last mAP") == 1  # one rank says it
    return folder(out)


def check_goes_on(run: RunFolder, undisturbed: RunFolder) -> None:
    """See that a new launch brings the run to the end of the other, byte for byte."""
    assert not run.finished
    again = launch("resume", str(run.path), "--quiet")
    said = again.communicate(timeout=300)
    assert again.returncode == 0, said
    assert "goes on from" in run.run_log.read_text()
    for name in ("metrics", "trained_model", "memory"):
        assert getattr(run, name).read_bytes() == getattr(undisturbed, name).read_bytes(), name


def test_sigterm_saves_all_ranks_at_one_step(tmp_path: Path, undisturbed: RunFolder) -> None:
    process, run = begin(tmp_path), folder(tmp_path)
    wait_for_checkpoint(run, process)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    places = re.findall(r"interrupted (?:and saved )?(at task \d+, epoch \d+, step \d+)", said)
    assert len(places) == 2, said
    assert places[0] == places[1]
    check_goes_on(run, undisturbed)


@pytest.mark.parametrize("rank", [0, 1])
def test_after_the_loss_of_a_rank_the_other_ends_soon(rank: int, tmp_path: Path, undisturbed: RunFolder) -> None:
    process, run = begin(tmp_path), folder(tmp_path)
    wait_for_checkpoint(run, process)
    workers(process)[rank].kill()
    began = time.monotonic()
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert time.monotonic() - began < 45
    check_goes_on(run, undisturbed)


def test_a_run_goes_on_with_as_many_ranks_as_it_began(tmp_path: Path) -> None:
    process, run = begin(tmp_path), folder(tmp_path)
    wait_for_checkpoint(run, process)
    os.kill(workers(process)[1].pid, signal.SIGTERM)
    process.communicate(timeout=60)
    alone = launch("resume", str(run.path), "--quiet", ranks=1)
    _, said = alone.communicate(timeout=100)
    assert alone.returncode == 2
    assert "ranks: was 2, now not there" in said


def test_a_bad_call_is_said_in_one_line_a_rank(tmp_path: Path) -> None:
    process = launch("run", "digits-b0c2", "--strategy", "no-such", "--out", str(tmp_path))
    _, said = process.communicate(timeout=200)
    assert process.returncode != 0
    own = [line for line in said.splitlines() if "no-such" in line and "clsim run" not in line]
    assert len(own) == 2, said
    assert sum(line.startswith("rank 1: ") for line in own) == 1
