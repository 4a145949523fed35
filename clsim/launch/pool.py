"""Prepared runs as processes, a few at a time."""

from __future__ import annotations

import errno
import signal
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from clsim.errors import OUT_OF_MEMORY, RunError
from clsim.evaluation.sent_file import failures
from clsim.files import write_atomically
from clsim.launch.engines import Engine, Handle, Order
from clsim.launch.engines.local import LocalEngine
from clsim.launch.first_task_groups import is_there, launch_order
from clsim.launch.progress import Progress
from clsim.launch.run_state import MetricsTail, RunState
from clsim.running.folder_lock import IN_USE
from clsim.running.interruption import INTERRUPTED, SIGNALS, Interruption, handled
from clsim.running.preparation_file import forget_preparation
from clsim.running.run_folder import RunFolder
from clsim.running.run_identity import OTHER_RUN

LOOK_EVERY = 0.2
"""Seconds between two looks at the runs."""
IS_IN_USE = "in use by another process"
REFUSED_FOR = 30.0
"""Seconds for which starting a process is tried where the operating system has none to give."""
STOPPED = (INTERRUPTED, *(-number for number in SIGNALS))
"""Exit codes of a run that was asked to stop; by a signal as long as it had nothing to save."""


class Pool:
    """Runs prepared folders as processes, a few at a time; one that fails does not stop the others.

    Once asked to stop (Ctrl-C, SIGTERM or SIGHUP to this process or to the engine's) it starts nothing new and asks the
    runs to write a checkpoint and end; asked to stop at once, it kills them (see `Interruption`).

    Args:
        workers: runs at a time.
        threads: of each.
        progress: what to tell.
        share: run folder -> folder of the first task it shares. Runs that share one wait until the first of them has
            trained it; should that fail, the next one does.
        fork: see `Engine.at_work`.
        given_up: tells, while a run waits or is at work, whether it need not go on: then it is not started, or is asked
            to write a checkpoint and end.
        gpus: name of the GPU of each run at a time, as in CUDA_VISIBLE_DEVICES, one per worker or more; a run sees no
            other. Empty: every run sees what this process sees.
        elsewhere: tells, before a run is started, whether another process has it or has ended it; then it is left as
            it is.
        retry_out_of_memory: start a run that is out of memory once more, alone, when all others have ended.
        engine: starts the runs; None: on this machine.
        device: of all runs.

    Attributes:
        interruption: whether it was asked to stop.
    """

    def __init__(
        self,
        workers: int,
        threads: int,
        progress: Progress | None = None,
        share: Mapping[Path, Path] = MappingProxyType({}),
        fork: bool = False,
        given_up: Callable[[Path], bool] | None = None,
        gpus: Sequence[str] = (),
        retry_out_of_memory: bool = False,
        elsewhere: Callable[[Path], bool] | None = None,
        engine: Engine | None = None,
        device: str = "cpu",
    ) -> None:
        self.workers = workers
        self.progress = progress
        self.share = share
        self.threads = threads
        self.fork = fork
        self.given_up = given_up or (lambda _: False)
        self.elsewhere = elsewhere or (lambda _: False)
        self.gpus = tuple(gpus)
        self.may_retry = retry_out_of_memory
        self.retried: set[Path] = set()
        self.engine = engine or LocalEngine()
        self.device = device
        self.running: dict[Path, _Process] = {}
        self.interruption = Interruption()
        self.announced = False
        self.refused_at: float | None = None

    def run(self, states: Mapping[Path, RunState]) -> None:
        """Carry out the runs that wait, and keep their states up to date. Runs that have ended are only shown."""
        waiting = [folder for folder, state in states.items() if state.status == "waiting"]
        waiting = launch_order(waiting, self.share, states)
        try:
            with self.engine.at_work(self.threads, self.fork and bool(waiting)):
                try:
                    for folder, state in states.items():
                        self._show(folder, state)
                    with handled(self.interruption.take):
                        while self.running or (waiting and not self._stopping()):
                            self._start_ready(waiting, states)
                            time.sleep(LOOK_EVERY)
                            waiting += self._look()
                finally:
                    self._end_processes()
        finally:
            if self.progress is not None:
                self.progress.close()

    def _start_ready(self, waiting: list[Path], states: Mapping[Path, RunState]) -> None:
        """Start runs, which leave `waiting`, until all workers have one or all others must wait."""
        while self._can_start():
            ready = next((folder for folder in waiting if not self._must_wait(folder, waiting)), None)
            if ready is None:
                return
            waiting.remove(ready)
            if self.elsewhere(ready):
                self._show(ready, states[ready])
            elif self.given_up(ready):
                states[ready].end("pruned")
                self._show(ready, states[ready])
            elif not self._start(ready, states[ready]):
                waiting.insert(0, ready)
                return

    def _end_processes(self) -> None:
        for process in self.running.values():  # only after an error, such as the display's
            process.stop()
        while any(process.handle.poll() is None for process in self.running.values()):
            time.sleep(LOOK_EVERY)

    def _must_wait(self, folder: Path, waiting: Collection[Path]) -> bool:
        """Tell whether a run at work trains the first task that this one shares, or one of them must be alone."""
        if self.retried & self.running.keys():
            return True
        if folder in self.retried:
            return bool(self.running) or not self.retried >= set(waiting)
        share = self.share.get(folder)
        return (
            share is not None
            and not is_there(share)
            and any(
                self.share.get(other) == share and process.state.task == 1 for other, process in self.running.items()
            )
        )

    def _can_start(self) -> bool:
        if len(self.running) >= self.workers:
            return False
        return self.engine.ready() and not self._stopping()

    def _stopping(self) -> bool:
        if self.engine.stop_requested:
            self.interruption.request()
        return self.interruption.requested

    def _start(self, folder: Path, state: RunState) -> bool:
        """Start a run. False: there are too many processes, or no memory for one more, for the moment.

        Raises:
            RunError: it is so for REFUSED_FOR seconds, and no run is at work that could end.
        """
        share, gpu = self.share.get(folder), self._free_gpu()
        shared = state.epochs if share is not None and is_there(share) else 0
        process = _Process(folder, state, shared, gpu)
        try:
            process.handle = self.engine.start(Order(folder, share, self.threads, self.device, gpu))
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ENOMEM):
                raise
            state.status = "waiting"
            self.refused_at = self.refused_at or time.monotonic()
            if not self.running and time.monotonic() - self.refused_at > REFUSED_FOR:
                raise RunError(f"{folder}: no process can be started: {error.strerror}") from None
            return False
        self.refused_at = None
        self.running[folder] = process
        self._show(folder, state)
        return True

    def _free_gpu(self) -> str | None:
        """Return the GPU of the next run: of those with a free share one with the fewest runs; None: of no concern."""
        busy = Counter(process.gpu for process in self.running.values() if process.gpu is not None)
        free = Counter(self.gpus) - busy
        return min(free, key=lambda gpu: busy[gpu], default=None)

    def _look(self) -> list[Path]:
        """Look at the runs at work, and return those that are to be started once more."""
        again = []
        stopping = self._stopping()  # one value for all of them: a signal may come at any moment
        if stopping and not self.announced and self.progress is not None:
            self.progress.say(f"stopping: {len(self.running)} runs write checkpoints; a second Ctrl-C kills them")
            self.announced = True
        for folder, process in list(self.running.items()):
            if stopping:
                process.stop(self.interruption.at_once)
            process.tail.read()
            if given_up := self.given_up(folder):
                process.stop()
            ended = process.ended(interrupted=stopping)
            if ended and given_up and process.state.status == "interrupted" and not stopping:
                process.state.end("pruned")
            for warning in process.warnings():
                if self.progress is not None:
                    self.progress.say(warning)
            if ended:
                del self.running[folder]
            if ended and process.out_of_memory and self.may_retry and not stopping and folder not in self.retried:
                self.retried.add(folder)
                again.append(folder)
                process.state.status = "waiting"
                if self.progress is not None:
                    self.progress.say(f"{folder}: out of memory; is tried once more, alone, after the others")
            self._show(folder, process.state)
        return again

    def _show(self, folder: Path, state: RunState) -> None:
        if self.progress is not None:
            self.progress.update(folder, state)


class _Process:
    """One run at work.

    Args:
        shared: epochs that it takes from the run that trained its first task.
        gpu: the only one that it sees; None: all that this process sees.
    """

    handle: Handle

    def __init__(self, folder: Path, state: RunState, shared: int, gpu: str | None = None) -> None:
        self.folder, self.state, self.gpu = folder, state, gpu
        self.out_of_memory = False
        self.tail = MetricsTail(folder, state)
        self.tail.read()
        state.start(shared)
        self.stop_requested = False
        self.warned: set[str] = set()
        RunFolder(folder).error.unlink(missing_ok=True)  # of an earlier attempt
        forget_preparation(folder)

    def warnings(self) -> list[str]:
        """Return what a user should know of it, each once: that it cannot be resumed, that a logger has failed."""
        found = [*self.handle.notes, *failures(RunFolder(self.folder).loggers)]
        if (reason := RunFolder(self.folder).obstacle) is not None:
            found.append(f"{reason}; if it is interrupted, the same comparison begins it again")
        new = [text for text in found if text not in self.warned]
        self.warned |= set(new)
        return [f"{self.folder}: {text}" for text in new]

    def stop(self, at_once: bool = False) -> None:
        """Ask the process to end, only once; or kill it and its children."""
        if self.handle.poll() is not None:
            return
        if at_once:
            self.handle.kill()
        elif not self.stop_requested:
            self.handle.stop()
            self.stop_requested = True

    def ended(self, interrupted: bool) -> bool:
        """Tell whether the process has ended, and record in the state how."""
        code = self.handle.poll()
        if code is None:
            return False
        self.tail.read()
        if RunFolder(self.folder).finished:
            self.state.end("finished")
        elif interrupted or code in STOPPED:
            self.state.end("interrupted")
        elif code in (IN_USE, OTHER_RUN):  # the run itself has not failed, so nothing about it is written
            self.state.end("failed", IS_IN_USE if code == IN_USE else _last_words(self.folder))
        else:
            self.state.end("failed", _failure_reason(self.folder, code, self.handle.reason))
            self.out_of_memory = code == OUT_OF_MEMORY
        return True


def _last_words(folder: Path) -> str:
    """Return in one line what the process of a run printed last about its folder."""
    text = RunFolder(folder).output.read_text(encoding="utf-8", errors="replace")
    lines = text.rpartition(f"{folder}: ")[2].splitlines()
    return f"{' '.join(line.strip() for line in lines)}; see {RunFolder(folder).output}"


def _failure_reason(folder: Path, code: int, told: str) -> str:
    """Return in one line why a run failed, from its `error.txt` or its exit code, and the file that says more.

    Args:
        told: what its engine says; empty: nothing.
    """
    files = RunFolder(folder)
    if files.error.is_file():
        first_line = files.error.read_text(encoding="utf-8").partition("\n")[0]
        return f"{first_line}; see {files.run_log}"
    reason = f"{told or _exit_text(code)}; see {files.output}"
    write_atomically(files.error, reason + "\n")
    return reason


def _exit_text(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code} and without a result"
    try:
        name = f" ({signal.Signals(-code).name})"
    except ValueError:
        name = ""
    want = ", perhaps for want of memory: fewer --workers need less" if -code == signal.SIGKILL else ""
    return f"killed by signal {-code}{name}{want}"
