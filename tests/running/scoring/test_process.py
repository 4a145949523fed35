"""The process that scores: it takes messages in order, answers what is asked, and hands its errors back."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clsim.errors import RunError, ScenarioError
from clsim.running.scoring.messages import Wanted
from clsim.running.scoring.process import ScoringProcess

ERRORS: dict[str, Exception] = {
    "of a run": RunError("metric failed"),
    "of a scenario": ScenarioError(["a.yaml:3: wrong"]),
    "of the disk": OSError(28, "No space left on device", "/run/metrics.jsonl"),
}


class FakeDesk:
    """Notes what it is told in a file."""

    wanted = Wanted(False, 0, "none")

    def __init__(self, path: Path) -> None:
        self.path = path

    def note(self, text: str) -> int:
        with self.path.open("a") as file:
            file.write(text)
        return os.getpid()

    def fail(self, which: str) -> None:
        raise ERRORS[which]

    def fail_oddly(self) -> None:
        class Odd(Exception):
            """Nobody else has it."""

        raise Odd("no way to send it")


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "notes"


@pytest.fixture
def process(notes: Path) -> Iterator[ScoringProcess]:
    desk: Any = FakeDesk(notes)
    made = ScoringProcess(desk, "clsim resume here")
    yield made
    made.close()


def test_messages_are_taken_in_order_elsewhere(process: ScoringProcess, notes: Path) -> None:
    process.tell("note", "a" * 100_000)
    process.tell("note", "b")
    assert process.ask("note", "c") == process.pid != os.getpid()
    assert notes.read_text() == "a" * 100_000 + "bc"


def test_what_is_still_on_its_way_is_taken_before_it_ends(process: ScoringProcess, notes: Path) -> None:
    for _ in range(50):
        process.tell("note", "x")
    process.close()
    assert notes.read_text() == "x" * 50


@pytest.mark.parametrize(
    ("which", "kind"), [("of a run", RunError), ("of a scenario", RunError), ("of the disk", OSError)]
)
def test_an_error_comes_back_as_it_is_and_nothing_after_it_is_done(
    process: ScoringProcess, notes: Path, which: str, kind: type[Exception]
) -> None:
    process.tell("fail", which)
    with pytest.raises(kind) as raised:
        process.ask("note", "too late")
    assert str(raised.value) == str(ERRORS[which])
    assert not notes.exists()
    with pytest.raises(RunError, match=r"has ended \(exit code 1\); go on with: clsim resume here"):
        process.ask("note", "too late")


def test_an_error_that_cannot_travel_comes_back_as_its_text(process: ScoringProcess) -> None:
    with pytest.raises(RunError, match=r"^Odd: no way to send it$"):
        process.ask("fail_oddly")


def test_signals_that_stop_a_run_are_left_to_the_run(process: ScoringProcess) -> None:
    assert process.pid is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(process.pid, number)
    assert process.ask("note", "still here") == process.pid
