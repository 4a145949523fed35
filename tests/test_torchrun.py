"""What torchrun says to a process, and commands that it cannot start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import clsim
from clsim.errors import RunError
from clsim.launch.tuning import tune
from clsim.launch.work import work
from clsim.running.checkpointer import resume_command
from clsim.running.hardware import resolve_device
from clsim.torchrun import Process, this_process

RANK_3_OF_4 = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}


@pytest.fixture
def on_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "none", **RANK_3_OF_4}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("on_ranks")
def test_the_place_of_a_process() -> None:
    assert this_process() == Process(rank=3, count=4, local_rank=1, local_count=2)


def test_what_other_programs_set_means_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in RANK_3_OF_4.items():
        monkeypatch.setenv(name, value)
    assert this_process() == Process()


@pytest.mark.usefixtures("on_ranks")
@pytest.mark.parametrize(
    ("command", "call"),
    [
        ("compare", lambda: clsim.compare("digits-b0c2", ["er"])),
        ("work", lambda: work("runs")),
        ("tune", lambda: tune("digits-b0c2", strategy="er")),
    ],
)
def test_what_starts_runs_itself_is_refused(command: str, call: Callable[[], Any]) -> None:
    with pytest.raises(RunError, match=rf"clsim {command}: started 4 times by torchrun.*clsim run") as error:
        call()
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("on_ranks")
def test_the_command_that_goes_on_names_the_launcher() -> None:
    command = "torchrun --nproc-per-node 2 --no-python clsim resume runs/a"
    assert resume_command(Path("runs/a")) == command


@pytest.mark.usefixtures("on_ranks")
def test_a_rank_has_the_gpu_of_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert resolve_device("auto") == resolve_device("cuda") == resolve_device("cuda:1") == "cuda:1"
    assert resolve_device("cpu") == "cpu"
    with pytest.raises(RunError, match="cuda:0: each of several ranks has a GPU of its own"):
        resolve_device("cuda:0")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(RunError, match="2 or more ranks on this machine, which shows 1 GPUs"):
        resolve_device("cuda")
