"""What each signal asks for, and when it comes too often."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from clsim.running import interruption as module
from clsim.running.interruption import GRACE, Interruption, handled, interruptible

pytestmark = pytest.mark.usefixtures("as_in_a_terminal")

INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
WAIT = GRACE + 1
PROCESS = """
import sys, time
from clsim.running.interruption import INTERRUPTED, ended_by_signals, interruptible

try:
    with ended_by_signals():
        if "training" in sys.argv:
            with interruptible() as interruption:
                print("up", flush=True)
                while not interruption.requested:
                    time.sleep(0.01)
                time.sleep(0.3)  # to the end of the step
                print("saved", flush=True)
                raise KeyboardInterrupt
        try:
            print("up", flush=True)
            time.sleep(60)
        finally:
            time.sleep(0.3)
except KeyboardInterrupt:
    time.sleep(0.3)
    sys.exit(INTERRUPTED)
"""


@pytest.mark.parametrize(
    ("events", "at_once"),
    [
        ([TERM], False),
        ([TERM] * 5, False),
        ([HUP, TERM, HUP], False),
        ([INT], False),
        ([TERM, INT, TERM], False),
        ([INT, TERM], False),
        ([INT, INT], True),
        ([INT, WAIT, INT], True),
        ([TERM, INT, INT], True),
        ([TERM, WAIT, TERM], True),
        ([INT, WAIT, HUP], True),
        ([WAIT, TERM], False),
    ],
)
def test_only_a_second_ctrl_c_or_a_late_signal_means_at_once(
    events: list[float], at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))
    interruption = Interruption()
    assert not interruption.requested
    for event in events:
        if isinstance(event, signal.Signals):
            interruption.take(event)
            assert interruption.requested
        else:
            now += event
    assert interruption.at_once == at_once


@pytest.mark.parametrize("number", [INT, HUP])
def test_signals_that_are_ignored_stay_so(number: signal.Signals) -> None:
    signal.signal(number, signal.SIG_IGN)
    with interruptible() as interruption:
        signal.raise_signal(number)
        assert not interruption.requested
        signal.raise_signal(TERM)
        assert interruption.requested
    assert signal.getsignal(number) is signal.SIG_IGN


def test_an_ignored_sigterm_is_heeded_because_a_comparison_stops_its_runs_by_it() -> None:
    signal.signal(TERM, signal.SIG_IGN)
    with interruptible() as interruption:
        signal.raise_signal(TERM)
        assert interruption.requested
    assert signal.getsignal(TERM) is signal.SIG_IGN


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in module.SIGNALS]
    with handled(lambda number, frame: None):
        assert [signal.getsignal(number) for number in module.SIGNALS] != before
    assert [signal.getsignal(number) for number in module.SIGNALS] == before


def test_the_end_of_the_parent_is_a_request() -> None:
    parent, alive = os.pipe()
    interruption = Interruption(parent)
    assert not interruption.requested
    os.close(alive)
    assert interruption.requested
    assert not interruption.at_once
    os.close(parent)


@pytest.mark.parametrize("phase", ["training", "before"])
def test_a_process_ends_with_130_however_often_it_is_told(phase: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", PROCESS, phase], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    while process.poll() is None:
        process.send_signal(TERM)
        time.sleep(0.005)
    assert process.returncode == 130
    assert process.stdout.read() == ("saved\n" if phase == "training" else "")
