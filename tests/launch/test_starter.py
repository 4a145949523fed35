"""The process that forks runs: imports once, and what becomes of runs when it is stopped or killed."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import psutil
import pytest

from clsim.launch.pool import Pool
from tests.fixtures.small_runs import RUN, WAIT_FOR_STOP, ends, interrupt, when_up

pytestmark = pytest.mark.usefixtures("as_in_a_terminal")


def starters() -> list[psutil.Process]:
    """The living ones of this process."""
    children = psutil.Process().children()
    return [child for child in children if "clsim.launch.starter" in " ".join(child.cmdline())]


def test_the_imports_are_done_once(jobs, fork: bool, tmp_path: Path) -> None:
    states = jobs(a="finish()", b="finish()", c="finish()")
    mark = 'from pathlib import Path\nwith open(Path(__file__).with_name("imports"), "a") as file: file.write("x")\n'
    (tmp_path / "small_run.py").write_text(mark + RUN)
    Pool(1, 1, fork=fork).run(states)
    assert (tmp_path / "imports").read_text() == ("x" if fork else "xxx")
    assert not starters()


@pytest.mark.parametrize("fork", [True], indirect=True)
def test_a_forked_run_hashes_no_code_and_collects_no_module(jobs, fork: bool) -> None:
    states = jobs(
        a="import gc; from clsim.parts import _installed; from clsim.source_code import code_version; "
        "known = [function.cache_info().currsize for function in (_installed, code_version)]; "
        '(folder / "known").write_text(f"{known} {gc.get_freeze_count() > 1000}"); finish()'
    )
    Pool(1, 1, fork=fork).run(states)
    assert [(folder / "known").read_text() for folder in states] == ["[1, 1] True"]


@pytest.mark.parametrize("fork", [True], indirect=True)
def test_runs_of_a_starter_that_is_killed_fail_and_the_others_are_begun_without_it(jobs, fork: bool) -> None:
    states = jobs(first='(folder / "up").touch(); time.sleep(60)', second="finish()")
    first, _ = states
    thread = when_up(first, lambda: starters()[0].kill())
    Pool(1, 1, fork=fork).run(states)
    thread.join()
    assert [(state.status, state.reason.partition(",")[0]) for state in states.values()] == [
        ("failed", "killed by signal 9 (SIGKILL)"),
        ("finished", ""),
    ]
    assert ends(int((first / "pid").read_text()))


@pytest.mark.parametrize("fork", [True], indirect=True)
def test_a_signal_to_the_starter_stops_all_runs(jobs, fork: bool) -> None:
    states = jobs(first=WAIT_FOR_STOP, second="finish()")
    first, second = states
    thread = when_up(first, lambda: starters()[0].terminate())
    pool = Pool(1, 1, fork=fork)
    pool.run(states)
    thread.join()
    assert pool.interruption.requested
    assert (first / "checkpoint").exists()
    assert (states[first].status, states[second].status) == ("interrupted", "waiting")


def test_a_starter_that_was_stopped_is_continued(jobs) -> None:
    states = jobs(first='(folder / "up").touch(); time.sleep(0.5); finish()', second="finish()")
    first, second = states
    thread = when_up(first, lambda: starters()[0].suspend())
    Pool(1, 1, fork=True).run(states)
    thread.join()
    assert [states[folder].status for folder in (first, second)] == ["finished", "finished"]


@pytest.mark.parametrize("fork", [True], indirect=True)
def test_without_the_imports_each_run_says_why_it_failed(jobs, fork: bool, tmp_path: Path) -> None:
    states = jobs(a="finish()", b="finish()")
    (tmp_path / "small_run.py").write_text("import not_installed\n")
    Pool(2, 1, fork=fork).run(states)
    for folder, state in states.items():
        assert state.reason.startswith("ended with exit code 1 and without a result")
        assert "No module named 'not_installed'" in (folder / "output.txt").read_text()


@pytest.mark.parametrize("fork", [True], indirect=True)
def test_an_interrupt_while_everything_is_imported_acts_at_once(jobs, fork: bool, tmp_path: Path) -> None:
    states = jobs(a="finish()", b="finish()")
    (tmp_path / "small_run.py").write_text("import time; time.sleep(60)\n")
    threading.Timer(0.5, interrupt).start()
    began = time.monotonic()
    Pool(2, 1, fork=fork).run(states)
    assert time.monotonic() - began < 30
    assert [state.status for state in states.values()] == ["waiting", "waiting"]
    assert not starters()
