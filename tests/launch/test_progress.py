from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from clsim.launch.progress import ConsoleProgress
from clsim.launch.run_state import RunState


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
