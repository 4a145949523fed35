from __future__ import annotations

import time
from pathlib import Path

import pytest

from clsim.launch.forecast import forecast
from clsim.launch.run_state import RunState

NOW = 1000.0


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: NOW)


def run(strategy: str, seed: int = 0) -> Path:
    return Path("runs") / strategy / f"seed{seed}"


def running(done: int, pace: float, since: float = 0.0) -> RunState:
    """A run of ten epochs whose last one of `done` was `since` seconds ago."""
    state = RunState(10, 5)
    state.done = done
    state.marked = NOW - since
    state.began = NOW - since - done * pace
    return state


def ended(pace: float) -> RunState:
    state = RunState(10, 5, "finished", done=10)
    state.began, state.ended = NOW - 10 * pace, NOW
    state.marked = state.ended
    return state


def waiting() -> RunState:
    return RunState(10, 5, "waiting")


def test_nothing_can_be_told_before_the_first_epoch() -> None:
    told = forecast({run("er"): running(0, 1.0), run("lwf"): waiting()})
    assert told.each == {run("er"): None, run("lwf"): None}
    assert told.all is None


def test_a_run_is_told_by_its_own_epochs() -> None:
    told = forecast({run("er"): running(4, 3.0, since=2.0), run("lwf"): ended(99.0)})
    assert told.each == {run("er"): 6 * 3.0 - 2.0}
    assert told.all == 16.0


def test_an_epoch_that_takes_longer_than_the_others_leaves_no_negative_time() -> None:
    assert forecast({run("er"): running(9, 1.0, since=50.0)}).all == 0.0


def test_a_run_that_waits_is_told_by_its_strategy_else_by_all() -> None:
    states = {
        run("er"): ended(2.0),
        run("er", 1): ended(4.0),
        run("er", 2): waiting(),
        run("lwf"): RunState(10, 5, "reused", done=10, recorded_pace=6.0),
        run("joint"): waiting(),
    }
    told = forecast(states)
    assert told.each == {run("er", 2): 30.0, run("joint"): 40.0}


def test_waiting_runs_start_when_a_worker_is_free() -> None:
    states = {
        run("er"): running(9, 5.0),
        run("lwf"): running(5, 5.0),
        run("er", 1): waiting(),
        run("lwf", 1): waiting(),
    }
    assert forecast(states).all == 25 + 50  # 5 + 50 = 55 on the first worker, 25 + 50 on the second


def test_what_is_done_is_not_done_again() -> None:
    interrupted = RunState(10, 5, "waiting", done=7)
    assert forecast({run("er"): ended(2.0), run("er", 1): interrupted}).all == 6.0


def test_nothing_is_left_when_all_have_ended() -> None:
    assert forecast({run("er"): ended(1.0), run("lwf"): RunState(10, 5, "failed")}).all == 0.0
