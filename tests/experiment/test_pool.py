"""The pool with real processes, but small ones: what they do stands in their folder."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from clsim.experiment import pool as pool_module
from clsim.experiment.pool import Pool
from clsim.experiment.run_state import RunState

RUN = """
import json, os, signal, subprocess, sys, time
from pathlib import Path

folder = Path(sys.argv[1])
(folder / "pid").write_text(str(os.getpid()))

def epoch(step):
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"phase": "train", "task": 0, "step": step, "values": {}}) + "\\n")

def finish():
    (folder / "result.json").write_text("{}")

def checkpoint(*_):
    (folder / "checkpoint").touch()
    sys.exit(130)

exec((folder / "code").read_text())
"""
WAIT_FOR_STOP = 'signal.signal(signal.SIGTERM, checkpoint); epoch(1); (folder / "up").touch(); time.sleep(60)'
DEAF = (
    "signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    'child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]); '
    '(folder / "child").write_text(str(child.pid)); (folder / "up").touch(); time.sleep(60)'
)


class Recorder:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.seen: dict[str, list[str]] = {}
        self.said: list[str] = []
        self.closed = False

    def update(self, folder: Path, state: RunState) -> None:
        seen = self.seen.setdefault(folder.name, [])
        if not seen or seen[-1] != state.status:
            seen.append(state.status)

    def say(self, text: str) -> None:
        self.said.append(text)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[Path, RunState]]:
    """States of folders that wait, by what the process of each does."""
    (tmp_path / "run.py").write_text(RUN)
    monkeypatch.setattr(pool_module, "COMMAND", (sys.executable, str(tmp_path / "run.py")))

    def make(**codes: str) -> dict[Path, RunState]:
        states = {}
        for name, code in codes.items():
            (tmp_path / name).mkdir()
            (tmp_path / name / "code").write_text(code)
            states[tmp_path / name] = RunState(4, 2, "waiting")
        return states

    return make


def when_up(folder: Path, act: Callable[[], None]) -> threading.Thread:
    """Act as soon as the process of the folder is."""

    def wait() -> None:
        for _ in range(600):
            if (folder / "up").exists():
                return act()
            time.sleep(0.05)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_runs_that_fail_do_not_stop_the_others_and_say_why(jobs) -> None:
    states = jobs(
        killed="epoch(1); os.kill(os.getpid(), signal.SIGKILL)",
        told='(folder / "error.txt").write_text("RunError: no images\\ndetails"); sys.exit(2)',
        crashed="os.abort()",
        empty="pass",
        well="finish()",
    )
    (next(iter(states)) / "error.txt").write_text("RunError: of an earlier attempt\n")
    recorder = Recorder()
    Pool(2, 1, recorder).run(states)
    ends = {folder.name: (state.status, state.reason.partition(";")[0]) for folder, state in states.items()}
    want = ", perhaps for want of memory: fewer --workers need less"
    assert ends == {
        "killed": ("failed", f"killed by signal 9 (SIGKILL){want}"),
        "told": ("failed", "RunError: no images"),
        "crashed": ("failed", "killed by signal 6 (SIGABRT)"),
        "empty": ("failed", "ended with exit code 0 and without a result"),
        "well": ("finished", ""),
    }
    assert recorder.seen["well"] == ["waiting", "running", "finished"]
    assert recorder.closed
    killed = next(iter(states))
    assert (killed / "error.txt").read_text().startswith("killed by signal 9")
    assert states[killed].done == 1


def test_no_more_run_at_a_time_than_workers_and_each_has_its_threads(jobs, tmp_path: Path) -> None:
    code = (
        'others = list(folder.parent.glob("*/here")); (folder / "here").touch(); time.sleep(0.5); '
        '(folder / "here").unlink(); '
        '(folder / "saw").write_text(str(len(others)) + " " + os.environ["OMP_NUM_THREADS"]); finish()'
    )
    states = jobs(a=code, b=code, c=code, d=code)
    Pool(2, 3).run(states)
    saw = [(folder / "saw").read_text().split() for folder in states]
    assert {threads for _, threads in saw} == {"3"}
    assert max(int(others) for others, _ in saw) == 1


def test_runs_that_are_ended_are_shown_and_left_alone(jobs) -> None:
    states = jobs(old="finish()", new="finish()")
    old, new = states
    states[old].status = "reused"
    recorder = Recorder()
    Pool(8, 1, recorder).run(states)
    assert recorder.seen["old"] == ["reused"]
    assert not (old / "pid").exists()
    assert states[new].status == "finished"


def test_the_first_interrupt_lets_runs_write_checkpoints_and_starts_nothing_new(jobs) -> None:
    states = jobs(first=WAIT_FOR_STOP, second="finish()")
    first, second = states
    recorder = Recorder()
    pool = Pool(1, 1, recorder)
    thread = when_up(first, interrupt)
    pool.run(states)
    thread.join()
    assert pool.stops == 1
    assert (first / "checkpoint").exists()
    assert (states[first].status, states[first].done) == ("interrupted", 1)
    assert states[second].status == "waiting"
    assert not (second / "pid").exists()
    assert recorder.said == ["stopping: 1 runs write checkpoints; Ctrl-C again kills them"]
    assert not (first / "error.txt").exists()


def test_the_second_interrupt_kills_a_run_and_what_it_has_started(jobs) -> None:
    states = jobs(deaf=DEAF)
    (deaf,) = states

    def twice() -> None:
        interrupt()
        time.sleep(1)
        assert psutil.pid_exists(int((deaf / "pid").read_text()))
        interrupt()

    thread = when_up(deaf, twice)
    pool = Pool(1, 1)
    pool.run(states)
    thread.join()
    assert pool.stops == 2
    assert states[deaf].status == "interrupted"
    child = int((deaf / "child").read_text())
    for _ in range(100):
        if not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.05)
    else:
        pytest.fail("what the run had started is alive")


def test_a_terminal_reaches_this_process_alone(jobs) -> None:
    states = jobs(run='(folder / "session").write_text(str(os.getsid(0))); finish()')
    (folder,) = states
    Pool(1, 1).run(states)
    assert int((folder / "session").read_text()) == int((folder / "pid").read_text()) != os.getsid(0)


def test_handlers_are_put_back_and_signals_that_are_ignored_stay_so(jobs) -> None:
    code = '(folder / "up").touch(); time.sleep(1); finish()'
    states = jobs(run=code)
    (folder,) = states
    before = signal.getsignal(signal.SIGINT)
    hangup = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        thread = when_up(folder, lambda: os.kill(os.getpid(), signal.SIGHUP))
        Pool(1, 1).run(states)
        thread.join()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, hangup)
    assert states[folder].status == "finished"
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_of_the_display_ends_the_runs_first(jobs) -> None:
    states = jobs(run=WAIT_FOR_STOP)
    (folder,) = states

    class Broken(Recorder):
        def update(self, folder: Path, state: RunState) -> None:
            if (folder / "up").exists() and not (folder / "checkpoint").exists():
                raise ValueError("no terminal")

    with pytest.raises(ValueError, match="no terminal"):
        Pool(1, 1, Broken()).run(states)
    assert not psutil.pid_exists(int((folder / "pid").read_text()))


def test_epochs_are_counted_as_they_come(jobs) -> None:
    states = jobs(run="epoch(1); time.sleep(0.6); epoch(2); time.sleep(0.6); finish()")
    (folder,) = states
    (folder / "metrics.jsonl").write_text(json.dumps({"phase": "train", "task": 0, "step": 1, "values": {}}) + "\n")
    counts: list[int] = []

    class Counting(Recorder):
        def update(self, folder: Path, state: RunState) -> None:
            counts.append(state.done)

    Pool(1, 1, Counting()).run(states)
    assert sorted(set(counts)) == [0, 1, 2]
    assert states[folder].before == 1


LEAVE = 'left = Path(sys.argv[2], "checkpoint"); left.mkdir(parents=True); (left / "1.json").touch(); '
SEE = '(folder / "saw").write_text(str(Path(sys.argv[2], "checkpoint").exists())); '


def test_runs_that_share_a_first_task_wait_for_it_and_others_do_not(jobs, tmp_path: Path) -> None:
    states = jobs(
        first=SEE + "time.sleep(1); " + LEAVE + "finish()",
        second=SEE + "finish()",
        third=SEE + "finish()",
        own='(folder / "saw").write_text(str(len(sys.argv))); finish()',
    )
    share = {folder: tmp_path / "share" for folder in states if folder.name != "own"}
    Pool(4, 1, share=share).run(states)
    assert {folder.name: (folder / "saw").read_text() for folder in states} == {
        "first": "False",
        "second": "True",
        "third": "True",
        "own": "2",
    }
    assert [state.before for state in states.values()] == [0, 2, 2, 0]


def test_a_run_that_fails_before_it_leaves_the_first_task_is_followed_by_the_next(jobs, tmp_path: Path) -> None:
    states = jobs(
        first="time.sleep(0.5); sys.exit(1)",
        second=SEE + "time.sleep(0.5); " + LEAVE + "finish()",
        third=SEE + "finish()",
    )
    Pool(3, 1, share=dict.fromkeys(states, tmp_path / "share")).run(states)
    assert [state.status for state in states.values()] == ["failed", "finished", "finished"]
    _, second, third = states
    assert ((second / "saw").read_text(), (third / "saw").read_text()) == ("False", "True")


def test_runs_do_not_wait_for_one_that_is_past_the_first_task_and_has_not_left_it(jobs, tmp_path: Path) -> None:
    states = jobs(
        first='epoch(2); second = folder.parent / "second" / "up"; '
        "[time.sleep(0.05) for _ in range(600) if not second.exists()]; finish()",
        second='(folder / "up").touch(); finish()',
    )
    Pool(2, 1, share=dict.fromkeys(states, tmp_path / "share")).run(states)
    assert {state.status for state in states.values()} == {"finished"}
    assert (next(iter(states)) / "result.json").stat().st_mtime >= (tmp_path / "second" / "up").stat().st_mtime
