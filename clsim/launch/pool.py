"""Prepared runs as processes, a few at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from clsim.files import write_atomically
from clsim.launch.first_task_groups import is_there, launch_order
from clsim.launch.progress import Progress
from clsim.launch.run_state import MetricsTail, RunState
from clsim.launch.starter import Forked, Starter, kill_session
from clsim.running.folder import is_finished

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
MODULE = "clsim.running.execution"
"""Its `main` carries out a prepared folder, which it is given, and where it shares the first task, if it does."""

INTERRUPTED = 130
"""Exit code of a run that was asked to stop and has written a checkpoint."""


class Pool:
    """Runs prepared folders as processes, a few at a time; one that fails does not stop the others.

    The first Ctrl-C, SIGTERM or SIGHUP lets nothing new start and asks the runs to write a checkpoint and end; the
    second kills them. They are sessions of their own, so that a terminal's Ctrl-C reaches this process alone.

    Args:
        workers: runs at a time.
        threads: of each.
        progress: what to tell.
        share: run folder -> folder of the first task it shares. Runs that share one wait until the first of them has
            trained it; should that fail, the next one does.
        fork: start them by a process that has the imports behind it; see `clsim.launch.starter`.

    Attributes:
        stops: how many times it was asked to stop.
    """

    def __init__(
        self,
        workers: int,
        threads: int,
        progress: Progress | None = None,
        share: Mapping[Path, Path] = MappingProxyType({}),
        fork: bool = False,
    ) -> None:
        self.workers = workers
        self.progress = progress
        self.share = share
        self.environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads))
        self.fork = fork
        self.starter: Starter | None = None
        self.running: dict[Path, _Process] = {}
        self.stops = 0
        self.announced = False

    def run(self, states: Mapping[Path, RunState]) -> None:
        """Carry out the runs that wait; their states tell what became of them. Those that are ended are only shown."""
        waiting = [folder for folder, state in states.items() if state.status == "waiting"]
        waiting = launch_order(waiting, self.share, states)
        if self.fork and waiting:
            self.starter = Starter(MODULE, self.environment)
        try:
            for folder, state in states.items():
                self._show(folder, state)
            with _signals(self._stop):
                while self.running or (waiting and not self.stops):
                    while not self.stops and len(self.running) < self.workers and self._can_start():
                        ready = [folder for folder in waiting if not self._must_wait(folder)]
                        if not ready:
                            break
                        waiting.remove(ready[0])
                        self._start(ready[0], states[ready[0]])
                    time.sleep(0.2)
                    self._look()
        finally:
            for process in self.running.values():  # only after an error, such as the display's
                process.stop(1)
            for process in self.running.values():
                process.popen.wait()
            if self.starter is not None:
                self.starter.close()
            if self.progress is not None:
                self.progress.close()

    def _must_wait(self, folder: Path) -> bool:
        """Whether a run that is at work trains the first task that this one shares."""
        share = self.share.get(folder)
        return (
            share is not None
            and not is_there(share)
            and any(
                self.share.get(other) == share and process.state.task == 1 for other, process in self.running.items()
            )
        )

    def _can_start(self) -> bool:
        return self.starter is None or self.starter.gone or self.starter.ready()

    def _start(self, folder: Path, state: RunState) -> None:
        share = self.share.get(folder)
        arguments = [str(folder)] if share is None else [str(folder), str(share)]
        shared = state.epochs if share is not None and is_there(share) else 0
        process = _Process(folder, state, shared)
        process.launch(arguments, self.environment, self.starter)
        self.running[folder] = process
        self._show(folder, state)

    def _look(self) -> None:
        stops = self.stops  # one value for all of them: a signal may come at any moment
        if stops and not self.announced and self.progress is not None:
            self.progress.say(f"stopping: {len(self.running)} runs write checkpoints; Ctrl-C again kills them")
            self.announced = True
        for folder, process in list(self.running.items()):
            process.stop(stops)
            process.tail.read()
            if process.ended(interrupted=stops > 0):
                del self.running[folder]
            self._show(folder, process.state)

    def _show(self, folder: Path, state: RunState) -> None:
        if self.progress is not None:
            self.progress.update(folder, state)

    def _stop(self, number: int, frame: object) -> None:
        self.stops += 1  # no more here: between two lines of anything


class _Process:
    """One run at work."""

    popen: subprocess.Popen[bytes] | Forked

    def __init__(self, folder: Path, state: RunState, shared: int) -> None:
        self.folder, self.state = folder, state
        self.tail = MetricsTail(folder, state)
        self.tail.read()
        state.start(shared)
        self.asked = 0
        (folder / "error.txt").unlink(missing_ok=True)  # of an earlier attempt

    def launch(self, arguments: list[str], environment: Mapping[str, str], starter: Starter | None) -> None:
        """Begin, by the starter as long as there is one."""
        path = self.folder / "output.txt"
        forked = starter.start(arguments, path) if starter is not None else None
        if forked is not None:
            self.popen = forked
            return
        with path.open("ab") as output:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", MODULE, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )

    def stop(self, times: int) -> None:
        """Ask it to end; at the second time kill it, and what it has started."""
        if times <= self.asked or self.popen.poll() is not None:
            return
        if times == 1:
            self.popen.terminate()
        else:
            kill_session(self.popen.pid)
        self.asked = times

    def ended(self, interrupted: bool) -> bool:
        """Whether it has; then its state says how."""
        code = self.popen.poll()
        if code is None:
            return False
        self.tail.read()
        if is_finished(self.folder):
            self.state.end("finished")
        elif interrupted or code == INTERRUPTED:
            self.state.end("interrupted")
        else:
            self.state.end("failed", _reason(self.folder, code))
        return True


def _reason(folder: Path, code: int) -> str:
    """Why a process ended with `code`: its own last word, else the signal or exit code."""
    path = folder / "error.txt"
    if not path.is_file():
        write_atomically(path, f"{_how(code)}; see {folder / 'output.txt'}\n")
    return path.read_text(encoding="utf-8").partition("\n")[0]


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code} and without a result"
    try:
        name = f" ({signal.Signals(-code).name})"
    except ValueError:
        name = ""
    want = ", perhaps for want of memory: fewer --workers need less" if -code == signal.SIGKILL else ""
    return f"killed by signal {-code}{name}{want}"


@contextmanager
def _signals(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Signals that ask to stop go to the handler. Those that are ignored (nohup) stay so; only the main thread can."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
