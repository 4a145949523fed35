"""Prepared runs as processes, a few at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from clsim.children import SAFE_PATH, module_command
from clsim.errors import OUT_OF_MEMORY
from clsim.evaluation.sent_file import failures
from clsim.files import write_atomically
from clsim.launch.first_task_groups import is_there, launch_order
from clsim.launch.progress import Progress
from clsim.launch.run_state import MetricsTail, RunState
from clsim.launch.starter import Forked, Starter, kill_session
from clsim.running.folder_lock import IN_USE
from clsim.running.hardware import VISIBLE
from clsim.running.interruption import INTERRUPTED, SIGNALS, Interruption, handled
from clsim.running.preparation_file import forget_preparation
from clsim.running.run_folder import RunFolder
from clsim.running.run_identity import OTHER_RUN

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
MODULE = "clsim.running.execution"
"""Its `main` carries out a prepared folder; see there for its arguments."""

IS_IN_USE = "in use by another process"
STOPPED = (INTERRUPTED, *(-number for number in SIGNALS))
"""Exit codes of a run that was asked to stop; by a signal as long as it had nothing to save."""


class Pool:
    """Runs prepared folders as processes, a few at a time; one that fails does not stop the others.

    Once asked to stop (Ctrl-C, SIGTERM or SIGHUP to this process or to the starter) it starts nothing new and asks the
    runs to write a checkpoint and end; asked to stop at once, it kills them (see `Interruption`). They are sessions of
    their own, so that a terminal's Ctrl-C reaches this process alone. If this process is killed, each run notices at
    the next point where it can be cut, by a pipe, and saves itself and ends.

    Args:
        workers: runs at a time.
        threads: of each.
        progress: what to tell.
        share: run folder -> folder of the first task it shares. Runs that share one wait until the first of them has
            trained it; should that fail, the next one does.
        fork: start them by a process that has the imports behind it; see `clsim.launch.starter`.
        given_up: tells, while a run waits or is at work, whether it need not go on: then it is not started, or is asked
            to write a checkpoint and end.
        gpus: name of the GPU of each run at a time, as in CUDA_VISIBLE_DEVICES, one per worker or more; a run sees no
            other. Empty: every run sees what this process sees.
        elsewhere: tells, before a run is started, whether another process has it or has ended it; then it is left as
            it is.
        retry_out_of_memory: start a run that is out of memory once more, alone, when all others have ended.

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
    ) -> None:
        self.workers = workers
        self.progress = progress
        self.share = share
        self.environment = os.environ | SAFE_PATH | dict.fromkeys(THREAD_VARIABLES, str(threads))
        self.fork = fork
        self.given_up = given_up or (lambda _: False)
        self.elsewhere = elsewhere or (lambda _: False)
        self.gpus = tuple(gpus)
        self.may_retry = retry_out_of_memory
        self.retried: set[Path] = set()
        self.starter: Starter | None = None
        self.running: dict[Path, _Process] = {}
        self.interruption = Interruption()
        self.announced = False

    def run(self, states: Mapping[Path, RunState]) -> None:
        """Carry out the runs that wait, and keep their states up to date. Runs that have ended are only shown."""
        waiting = [folder for folder, state in states.items() if state.status == "waiting"]
        waiting = launch_order(waiting, self.share, states)
        parent, alive = os.pipe()  # its end `alive` stays in this process, and goes with it
        if self.fork and waiting:
            self.starter = Starter(MODULE, self.environment, parent)
        try:
            for folder, state in states.items():
                self._show(folder, state)
            with handled(self.interruption.take):
                while self.running or (waiting and not self._stopping()):
                    self._start_ready(waiting, states, parent)
                    time.sleep(0.2)
                    waiting += self._look()
        finally:
            self._end_processes()
            os.close(parent)
            os.close(alive)
            if self.progress is not None:
                self.progress.close()

    def _start_ready(self, waiting: list[Path], states: Mapping[Path, RunState], parent: int) -> None:
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
            else:
                self._start(ready, states[ready], parent)

    def _end_processes(self) -> None:
        for process in self.running.values():  # only after an error, such as the display's
            process.stop()
        for process in self.running.values():
            process.popen.wait()
        if self.starter is not None:
            self.starter.close()

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
        imported = self.starter is None or self.starter.ready() or self.starter.gone
        return imported and not self._stopping()

    def _stopping(self) -> bool:
        if self.starter is not None and self.starter.stop_requested:
            self.interruption.request()
        return self.interruption.requested

    def _start(self, folder: Path, state: RunState, parent: int) -> None:
        share = self.share.get(folder)
        arguments = [str(folder)] if share is None else [str(folder), str(share)]
        shared = state.epochs if share is not None and is_there(share) else 0
        process = _Process(folder, state, shared, self._free_gpu())
        process.launch(arguments, parent, self.environment, self.starter)
        self.running[folder] = process
        self._show(folder, state)

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

    popen: subprocess.Popen[bytes] | Forked

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

    def launch(
        self, arguments: list[str], parent: int, environment: Mapping[str, str], starter: Starter | None
    ) -> None:
        """Start the process, forked by the starter if it can; it inherits the descriptor `parent`."""
        arguments = [*arguments, "--parent", str(parent)]
        path = RunFolder(self.folder).output
        own = {} if self.gpu is None else {VISIBLE: self.gpu}
        forked = starter.start(arguments, path, own) if starter is not None else None
        if forked is not None:
            self.popen = forked
            return
        with path.open("ab") as output:
            self.popen = subprocess.Popen(
                module_command(MODULE, *arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**environment, **own},
                pass_fds=[parent],
                start_new_session=True,
            )

    def warnings(self) -> list[str]:
        """Return what a user should know of it, each once: that it cannot be resumed, that a logger has failed."""
        found = failures(RunFolder(self.folder).loggers)
        if (reason := RunFolder(self.folder).obstacle) is not None:
            found.append(f"{reason}; if it is interrupted, the same comparison begins it again")
        new = [text for text in found if text not in self.warned]
        self.warned |= set(new)
        return [f"{self.folder}: {text}" for text in new]

    def stop(self, at_once: bool = False) -> None:
        """Ask the process to end, only once; or kill it and its children."""
        if self.popen.poll() is not None:
            return
        if at_once:
            kill_session(self.popen.pid)
        elif not self.stop_requested:
            self.popen.terminate()
            self.stop_requested = True

    def ended(self, interrupted: bool) -> bool:
        """Tell whether the process has ended, and record in the state how."""
        code = self.popen.poll()
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
            self.state.end("failed", _failure_reason(self.folder, code))
            self.out_of_memory = code == OUT_OF_MEMORY
        return True


def _last_words(folder: Path) -> str:
    """Return in one line what the process of a run printed last about its folder."""
    text = RunFolder(folder).output.read_text(encoding="utf-8", errors="replace")
    lines = text.rpartition(f"{folder}: ")[2].splitlines()
    return f"{' '.join(line.strip() for line in lines)}; see {RunFolder(folder).output}"


def _failure_reason(folder: Path, code: int) -> str:
    """Return in one line why a run failed, from its `error.txt` or its exit code, and the file that says more."""
    files = RunFolder(folder)
    if files.error.is_file():
        first_line = files.error.read_text(encoding="utf-8").partition("\n")[0]
        return f"{first_line}; see {files.run_log}"
    reason = f"{_exit_text(code)}; see {files.output}"
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
