from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from rich.console import Console

from clsim.launch.arguments import as_progress
from clsim.launch.progress import ConsoleProgress, Speaking, Unfailing
from clsim.launch.run_state import RunState
from clsim.preparation import Work, listening, tell, training_begins


def console(terminal: bool, height: int = 30) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, force_terminal=terminal, width=100, height=height, color_system=None), file


def run(strategy: str, seed: int = 0, home: str = "runs/digits") -> Path:
    return Path(home) / strategy / f"seed{seed}"


def test_elsewhere_than_on_a_terminal_each_score_and_each_end_is_a_line() -> None:
    display, file = console(terminal=False)
    progress = ConsoleProgress(display)
    state = RunState(4, 2, "waiting")
    progress.update(run("er"), state)
    progress.update(run("lwf"), RunState(4, 2, "reused", done=4))
    state.start()
    for step in (1, 2):
        state.take({"phase": "train", "step": step})
        progress.update(run("er"), state)
    state.take({"phase": "eval", "values": {"mAP/seen": 41.26}})
    for _ in range(3):
        progress.update(run("er"), state)
    state.end("failed", "killed by signal 9 [SIGKILL]")
    progress.update(run("er"), state)
    progress.update(run("er"), state)
    progress.close()
    lines = file.getvalue().splitlines()
    assert lines[0] == "lwf/seed0: reused"
    assert lines[1].startswith("er/seed0: 2/4 epochs, mAP 41.3")
    assert lines[2:] == ["er/seed0: failed: killed by signal 9 [SIGKILL]"]


@pytest.mark.parametrize("seen", [False, True])
def test_by_default_it_is_shown_where_a_terminal_or_a_notebook_shows_it(
    monkeypatch: pytest.MonkeyPatch, seen: bool
) -> None:
    monkeypatch.setattr("sys.stderr", console(False)[1])
    monkeypatch.setattr("sys.stderr.isatty", lambda: seen, raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert (as_progress(None) is not None) is seen
    assert as_progress(True) is not None
    assert as_progress(False) is None
    if not seen:
        monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
        assert as_progress(None) is not None


def test_runs_of_several_class_orders_are_told_apart() -> None:
    display, file = console(terminal=False)
    progress = ConsoleProgress(display)
    progress.update(run("er", home="runs/digits/order3"), RunState(4, 2, "reused", done=4))
    assert file.getvalue() == "order3/er/seed0: reused\n"


def shown(progress: ConsoleProgress) -> list[list[str]]:
    display, file = console(terminal=False)
    display.print(progress.table())
    return [line.split() for line in file.getvalue().splitlines()]


def test_the_table_says_how_far_each_run_is_and_what_is_left_of_all() -> None:
    progress = ConsoleProgress(console(terminal=False)[0])
    half = RunState(10, 5, done=0)
    half.take({"phase": "train", "step": 5})
    half.take({"phase": "eval", "values": {"mAP/seen": 55.55}})
    assert half.began is not None
    half.began -= 50
    progress.states = {
        run("er"): half,
        run("lwf", 7): RunState(10, 5, "waiting"),
        run("joint"): RunState(10, 5, "interrupted", done=3),
    }
    heading, er, lwf, joint, summary = shown(progress)
    assert heading == ["strategy", "seed", "state", "task", "epochs", "mAP", "time", "left"]
    assert er[:5] == ["er", "0", "running", "3/5", "5/10"]
    assert er[-3:] == ["55.5", "0:50", "0:50"]
    assert lwf[:4] == ["lwf", "7", "waiting", "0/10"]
    assert lwf[-1] == "1:40"
    assert joint[:5] == ["joint", "0", "interrupted", "2/5", "3/10"]
    assert " ".join(summary).startswith("1 waiting, 1 running, 1 interrupted, 0:00 elapsed, about 2:30 left")


def test_a_terminal_gets_a_live_table_and_the_reason_of_a_failure_at_once() -> None:
    display, file = console(terminal=True)
    progress = ConsoleProgress(display)
    state = RunState(4, 2)
    progress.update(run("er"), state)
    state.end("failed", "no images")
    progress.update(run("er"), state)
    assert "er/seed0: failed: no images" in file.getvalue()
    progress.close()
    assert file.getvalue().count("er/seed0: failed: no images") == 1
    assert "1 failed" in file.getvalue()


def test_on_a_low_terminal_runs_at_work_are_shown_first_and_in_the_end_all() -> None:
    display, _ = console(terminal=True, height=8)
    progress = ConsoleProgress(display)
    for seed in range(9):
        progress.update(run("old", seed), RunState(4, 2, "finished", done=4))
    progress.update(run("new"), RunState(4, 2))
    progress.update(run("next"), RunState(4, 2, "waiting"))
    rows = shown(progress)
    assert [row[0] for row in rows[1:-1]] == ["old", "old", "new", "next"]
    assert " ".join(rows[-1]).endswith("7 runs not shown")
    progress.close()
    assert [row[0] for row in shown(progress)[1:-1]] == 9 * ["old"] + ["new", "next"]


class Failing:
    """A progress whose every word is an error."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.told = 0

    def update(self, folder: Path, state: RunState) -> None:
        self.say("")

    def say(self, text: str) -> None:
        self.told += 1
        raise self.error

    def close(self) -> None:
        self.say("")


@pytest.mark.parametrize("error", [ValueError("closed"), OSError(32, "Broken pipe"), SystemExit(1)])
def test_an_error_of_a_progress_silences_it_and_ends_nothing(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    failing = Failing(error)
    progress = Unfailing(failing)
    progress.update(run("er"), RunState(4))
    progress.say("more")
    progress.close()
    assert failing.told == 1
    assert f"progress is no longer shown: {type(error).__name__}" in caplog.text


def test_whoever_interrupts_in_a_progress_is_heard() -> None:
    with pytest.raises(KeyboardInterrupt):
        Unfailing(Failing(KeyboardInterrupt())).say("")


@pytest.mark.parametrize("terminal", [False, True])
def test_a_console_that_is_lost_is_no_error(terminal: bool) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    progress = ConsoleProgress(Console(file=Gone(), force_terminal=terminal, width=100))
    state = RunState(4, 2)
    progress.update(run("er"), state)
    state.end("finished")
    progress.update(run("er"), state)
    progress.say("done")
    progress.close()


def test_work_before_training_is_said_once_it_lasts_and_from_time_to_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    display, file = console(terminal=False)
    progress = ConsoleProgress(display)
    state = RunState(4, 2)
    for second in range(13):
        clock[0] = float(second)
        state.prepare(Work("decoding", 10 * second, 200))
        progress.update(run("er"), state)
    state.prepare(None)
    progress.update(run("er"), state)
    assert file.getvalue().splitlines() == [
        "er/seed0: decoding 50 of 200 images",
        "er/seed0: decoding 100 of 200 images",
    ]


def test_waiting_for_another_process_is_said_at_once_and_before_runs_start_too() -> None:
    display, file = console(terminal=False)
    speaking = Speaking(ConsoleProgress(display))
    with listening(speaking):
        tell("reading", 0, 200)
        tell("waiting for another process")
        tell("waiting for another process")
        training_begins()
    assert file.getvalue() == "waiting for another process\n"
    Speaking(None)(Work("reading"))


def test_the_table_shows_work_before_training_with_its_progress() -> None:
    progress = ConsoleProgress(console(terminal=False)[0])
    state = RunState(10, 5)
    state.prepare(Work("decoding", 128, 512))
    progress.states = {run("er"): state}
    assert shown(progress)[1][2:6] == ["decoding", "128/512", "1/5", "0/10"]
