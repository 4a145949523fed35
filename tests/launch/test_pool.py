"""The pool with real processes, but small ones: what they do stands in their folder."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from clsim.errors import RunError
from clsim.launch import pool as pool_module
from clsim.launch.pool import Pool
from clsim.launch.run_state import RunState
from tests.fixtures.small_runs import AS_RUNS_DO, COUNT_STOPS, DEAF, WAIT_FOR_STOP, Recorder, ends, interrupt, when_up

pytestmark = pytest.mark.usefixtures("as_in_a_terminal")


def test_runs_that_fail_do_not_stop_the_others_and_say_why(jobs, fork: bool) -> None:
    states = jobs(
        killed="epoch(1); os.kill(os.getpid(), signal.SIGKILL)",
        told='(folder / "error.txt").write_text("RunError: no images\\ndetails"); sys.exit(2)',
        crashed="os.abort()",
        empty="pass",
        well="finish()",
    )
    (next(iter(states)) / "error.txt").write_text("RunError: of an earlier attempt\n")
    recorder = Recorder()
    Pool(2, 1, recorder, fork=fork).run(states)
    ends = {folder.name: (state.status, state.reason.partition(";")[0]) for folder, state in states.items()}
    want = ", perhaps for want of memory: fewer --workers need less"
    assert ends == {
        "killed": ("failed", f"killed by signal 9 (SIGKILL){want}"),
        "told": ("failed", "RunError: no images"),
        "crashed": ("failed", "killed by signal 6 (SIGABRT)"),
        "empty": ("failed", "ended with exit code 0 and without a result"),
        "well": ("finished", ""),
    }
    logs = {folder.name: state.reason.rpartition("; see ")[2] for folder, state in states.items()}
    assert logs["told"] == str(next(iter(states)).parent / "told" / "run.log")
    assert logs["empty"] == str(next(iter(states)).parent / "empty" / "output.txt")
    assert recorder.seen["well"] == ["waiting", "running", "finished"]
    assert recorder.closed
    killed = next(iter(states))
    assert (killed / "error.txt").read_text().startswith("killed by signal 9")
    assert states[killed].done == 1


def test_no_more_run_at_a_time_than_workers_and_each_has_its_threads(jobs, fork: bool, tmp_path: Path) -> None:
    code = (
        'others = list(folder.parent.glob("*/here")); (folder / "here").touch(); time.sleep(0.5); '
        '(folder / "here").unlink(); '
        '(folder / "saw").write_text(str(len(others)) + " " + os.environ["OMP_NUM_THREADS"]); finish()'
    )
    states = jobs(a=code, b=code, c=code, d=code)
    Pool(2, 3, fork=fork).run(states)
    saw = [(folder / "saw").read_text().split() for folder in states]
    assert {threads for _, threads in saw} == {"3"}
    assert max(int(others) for others, _ in saw) == 1


def test_runs_that_are_ended_are_shown_and_left_alone(jobs, fork: bool) -> None:
    states = jobs(old="finish()", new="finish()")
    old, new = states
    states[old].status = "reused"
    recorder = Recorder()
    Pool(8, 1, recorder, fork=fork).run(states)
    assert recorder.seen["old"] == ["reused"]
    assert not (old / "pid").exists()
    assert states[new].status == "finished"


def test_the_first_interrupt_lets_runs_write_checkpoints_and_starts_nothing_new(jobs, fork: bool) -> None:
    states = jobs(first=WAIT_FOR_STOP, second="finish()")
    first, second = states
    recorder = Recorder()
    pool = Pool(1, 1, recorder, fork=fork)
    thread = when_up(first, interrupt)
    pool.run(states)
    thread.join()
    assert not pool.interruption.at_once
    assert (first / "checkpoint").exists()
    assert (states[first].status, states[first].done) == ("interrupted", 1)
    assert states[second].status == "waiting"
    assert not (second / "pid").exists()
    assert recorder.said == ["stopping: 1 runs write checkpoints; a second Ctrl-C kills them"]
    assert not (first / "error.txt").exists()


def test_the_second_interrupt_kills_a_run_and_what_it_has_started(jobs, fork: bool) -> None:
    states = jobs(deaf=DEAF)
    (deaf,) = states

    def twice() -> None:
        interrupt()
        time.sleep(1)
        assert psutil.pid_exists(int((deaf / "pid").read_text()))
        interrupt()

    thread = when_up(deaf, twice)
    pool = Pool(1, 1, fork=fork)
    pool.run(states)
    thread.join()
    assert pool.interruption.at_once
    assert states[deaf].status == "interrupted"
    assert ends(int((deaf / "child").read_text()))


def test_sigterm_in_any_number_asks_a_run_once(jobs, fork: bool) -> None:
    states = jobs(run=COUNT_STOPS)
    (folder,) = states

    def insist() -> None:
        for _ in range(4):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.25)

    thread = when_up(folder, insist)
    Pool(1, 1, fork=fork).run(states)
    thread.join()
    assert (folder / "told").read_text() == "1"
    assert (folder / "checkpoint").exists()
    assert states[folder].status == "interrupted"


def test_sigterm_to_every_process_at_once_loses_nothing(jobs, fork: bool) -> None:
    states = jobs(a=AS_RUNS_DO, b=AS_RUNS_DO)
    a, b = states

    def everywhere() -> None:
        when_up(b, lambda: None).join()
        for _ in range(2):
            this = psutil.Process()
            for process in [*this.children(recursive=True), this]:
                process.terminate()
            time.sleep(0.3)

    thread = when_up(a, everywhere)
    Pool(2, 1, fork=fork).run(states)
    thread.join()
    assert [state.status for state in states.values()] == ["interrupted", "interrupted"]
    assert [(folder / "checkpoint").exists() for folder in states] == [True, True]


def test_a_sigterm_late_after_the_first_one_kills(jobs, fork: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clsim.running.interruption.GRACE", 0.3)
    states = jobs(deaf=DEAF)
    (deaf,) = states

    def twice() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = when_up(deaf, twice)
    Pool(1, 1, fork=fork).run(states)
    thread.join()
    assert states[deaf].status == "interrupted"


def test_a_run_that_sigterm_ends_before_it_can_save_has_not_failed(jobs, fork: bool) -> None:
    states = jobs(run='(folder / "up").touch(); time.sleep(60)', other="finish()")
    run, other = states
    thread = when_up(run, lambda: os.kill(int((run / "pid").read_text()), signal.SIGTERM))
    Pool(1, 1, fork=fork).run(states)
    thread.join()
    assert (states[run].status, states[other].status) == ("interrupted", "finished")


def test_runs_save_themselves_and_end_when_this_process_is_killed(jobs, fork: bool) -> None:
    (folder,) = jobs(run=AS_RUNS_DO)
    code = (
        "from pathlib import Path\n"
        "from clsim.launch import engines, pool\n"
        "from clsim.launch.run_state import RunState\n"
        "engines.MODULE = 'small_run'\n"
        f"pool.Pool(1, 1, fork={fork}).run({{Path({str(folder)!r}): RunState(4, 2, 'waiting')}})\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    when_up(folder, lambda: None).join()
    processes = psutil.Process(parent.pid).children(recursive=True)
    assert len(processes) == 1 + fork
    assert not (folder / "checkpoint").exists()
    parent.kill()
    parent.wait()
    assert all(ends(process.pid) for process in processes)
    assert (folder / "checkpoint").exists()


def test_a_terminal_reaches_this_process_alone(jobs, fork: bool) -> None:
    states = jobs(run='(folder / "session").write_text(str(os.getsid(0))); finish()')
    (folder,) = states
    Pool(1, 1, fork=fork).run(states)
    assert int((folder / "session").read_text()) == int((folder / "pid").read_text()) != os.getsid(0)


def test_handlers_are_put_back_and_signals_that_are_ignored_stay_so(jobs, fork: bool) -> None:
    code = '(folder / "up").touch(); time.sleep(1); finish()'
    states = jobs(run=code)
    (folder,) = states
    before = signal.getsignal(signal.SIGINT)
    hangup = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        thread = when_up(folder, lambda: os.kill(os.getpid(), signal.SIGHUP))
        Pool(1, 1, fork=fork).run(states)
        thread.join()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, hangup)
    assert states[folder].status == "finished"
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_of_the_display_ends_the_runs_first(jobs, fork: bool) -> None:
    states = jobs(run=WAIT_FOR_STOP)
    (folder,) = states

    class Broken(Recorder):
        def update(self, folder: Path, state: RunState) -> None:
            if (folder / "up").exists() and not (folder / "checkpoint").exists():
                raise ValueError("no terminal")

    with pytest.raises(ValueError, match="no terminal"):
        Pool(1, 1, Broken(), fork=fork).run(states)
    assert not psutil.pid_exists(int((folder / "pid").read_text()))


def test_epochs_are_counted_as_they_come(jobs, fork: bool) -> None:
    states = jobs(run="epoch(1); time.sleep(0.6); epoch(2); time.sleep(0.6); finish()")
    (folder,) = states
    (folder / "metrics.jsonl").write_text(json.dumps({"phase": "train", "task": 0, "step": 1, "values": {}}) + "\n")
    counts: list[int] = []

    class Counting(Recorder):
        def update(self, folder: Path, state: RunState) -> None:
            counts.append(state.done)

    Pool(1, 1, Counting(), fork=fork).run(states)
    assert sorted(set(counts)) == [0, 1, 2]
    assert states[folder].before == 1


LEAVE = 'left = Path(arguments[1], "checkpoint"); left.mkdir(parents=True); (left / "1.json").touch(); '
SEE = '(folder / "saw").write_text(str(Path(arguments[1], "checkpoint").exists())); '


def test_runs_that_share_a_first_task_wait_for_it_and_others_do_not(jobs, fork: bool, tmp_path: Path) -> None:
    states = jobs(
        first=SEE + "time.sleep(1); " + LEAVE + "finish()",
        second=SEE + "finish()",
        third=SEE + "finish()",
        own='(folder / "saw").write_text(str(len(arguments))); finish()',
    )
    share = {folder: tmp_path / "share" for folder in states if folder.name != "own"}
    Pool(4, 1, share=share, fork=fork).run(states)
    assert {folder.name: (folder / "saw").read_text() for folder in states} == {
        "first": "False",
        "second": "True",
        "third": "True",
        "own": "1",
    }
    assert [state.before for state in states.values()] == [0, 2, 2, 0]


def test_a_run_that_fails_before_it_leaves_the_first_task_is_followed_by_the_next(
    jobs, fork: bool, tmp_path: Path
) -> None:
    states = jobs(
        first="time.sleep(0.5); sys.exit(1)",
        second=SEE + "time.sleep(0.5); " + LEAVE + "finish()",
        third=SEE + "finish()",
    )
    Pool(3, 1, share=dict.fromkeys(states, tmp_path / "share"), fork=fork).run(states)
    assert [state.status for state in states.values()] == ["failed", "finished", "finished"]
    _, second, third = states
    assert ((second / "saw").read_text(), (third / "saw").read_text()) == ("False", "True")


def test_runs_do_not_wait_for_one_that_is_past_the_first_task_and_has_not_left_it(
    jobs, fork: bool, tmp_path: Path
) -> None:
    states = jobs(
        first='epoch(2); second = folder.parent / "second" / "up"; '
        "[time.sleep(0.05) for _ in range(600) if not second.exists()]; finish()",
        second='(folder / "up").touch(); finish()',
    )
    Pool(2, 1, share=dict.fromkeys(states, tmp_path / "share"), fork=fork).run(states)
    assert {state.status for state in states.values()} == {"finished"}
    assert (next(iter(states)) / "result.json").stat().st_mtime >= (tmp_path / "second" / "up").stat().st_mtime


# the process that forks


def test_a_run_whose_process_is_refused_is_tried_again(jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    started = subprocess.Popen
    refusals = [BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")] * 2

    def popen(*arguments: Any, **options: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return started(*arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", popen)
    states = jobs(first="finish()", second="finish()")
    Pool(2, 1, fork=False).run(states)
    assert [state.status for state in states.values()] == ["finished", "finished"]
    refusals += [BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")] * 100
    monkeypatch.setattr(pool_module, "REFUSED_FOR", 0.1)
    with pytest.raises(RunError, match="third: no process can be started: Resource temporarily unavailable"):
        Pool(1, 1, fork=False).run(jobs(third="finish()"))


def test_a_run_that_is_given_up_saves_itself_or_is_not_started(jobs: Callable[..., dict[Path, RunState]]) -> None:
    states = jobs(slow=WAIT_FOR_STOP, waiting="finish()", good="finish()")
    recorder = Recorder()
    pool = Pool(1, 1, recorder)
    pool.given_up = lambda folder: folder.name == "waiting" or (folder / "up").exists()
    pool.run(states)
    assert {folder.name: state.status for folder, state in states.items()} == {
        "slow": "pruned",
        "waiting": "pruned",
        "good": "finished",
    }
    (slow,) = (folder for folder in states if folder.name == "slow")
    assert (slow / "checkpoint").exists()
    assert recorder.seen["waiting"][-1] == "pruned"
    assert recorder.said == []
    assert not pool.interruption.requested


SEEN = """
gpu = os.environ["CUDA_VISIBLE_DEVICES"]
others = [path.read_text() for path in folder.parent.glob("*/here")]
(folder / "here").write_text(gpu)
while len(list(folder.parent.glob("*/saw"))) + len(list(folder.parent.glob("*/here"))) < 3:
    time.sleep(0.05)  # the first three are there at once
(folder / "saw").write_text(json.dumps([gpu, others.count(gpu)]))
(folder / "here").unlink()
finish()
"""


@pytest.mark.parametrize("fork", [False, True])
def test_each_run_sees_one_gpu_and_no_gpu_has_more_runs_than_its_shares(jobs, fork: bool) -> None:
    states = jobs(a=SEEN, b=SEEN, c=SEEN, d=SEEN, e=SEEN)
    Pool(3, 1, gpus=["7", "MIG-x", "7"], fork=fork).run(states)
    saw = [json.loads((folder / "saw").read_text()) for folder in states]
    assert [gpu for gpu, _ in saw[:3]] == ["7", "MIG-x", "7"]
    assert all(beside <= {"7": 1, "MIG-x": 0}[gpu] for gpu, beside in saw)


def test_a_run_out_of_memory_is_tried_once_more_alone_on_request(jobs) -> None:
    once = (
        'again = (folder / "first").exists(); (folder / "first").touch(); '
        '(folder / "error.txt").write_text("OutOfMemoryError: of cuda\\n"); '
        'finish() if again and not list(folder.parent.glob("*/here")) else sys.exit(12)'
    )
    here = '(folder / "here").touch(); time.sleep(1); (folder / "here").unlink(); finish()'
    states = jobs(once=once, always="sys.exit(12)", beside=here, later=here)
    recorder = Recorder()
    Pool(2, 1, recorder, retry_out_of_memory=True).run(states)
    ends = {folder.name: state.status for folder, state in states.items()}
    assert ends == {"once": "finished", "always": "failed", "beside": "finished", "later": "finished"}
    assert recorder.seen["once"] == ["waiting", "running", "waiting", "running", "finished"]
    assert recorder.seen["always"] == ["waiting", "running", "waiting", "running", "failed"]
    assert sum("is tried once more, alone" in text for text in recorder.said) == 2


def test_without_the_request_a_run_out_of_memory_has_failed(jobs) -> None:
    states = jobs(once="sys.exit(12)")
    Pool(1, 1).run(states)
    assert [state.status for state in states.values()] == ["failed"]
