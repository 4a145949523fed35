"""A process that has imported what runs need, and forks one whenever it is asked to.

The imports take seconds, as long as a small run trains; forked from here a run begins at once, and ends at once. What
it does between is what `python -m` on its module would do. CUDA does not survive a fork: clsim's imports do not touch
it, and if something else has, no run is forked. Not where forking a process that uses Apple's frameworks is known to
crash.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import MappingProxyType

from clsim.children import end_at_once, module_command, remove_unused_folders
from clsim.running.interruption import SIGNALS, Interruption, handled

SUITED = sys.platform == "linux"
FORKABLE = ("cpu", "cuda")
"""Devices whose runs may be forked."""
NO_PROCESS = -1
LATE_IMPORTS = ("sklearn.datasets", "pandas", "pycocotools.coco")
"""What some data sources import when they are read."""
LOOK_EVERY = 0.05
"""Seconds between two looks for runs that have ended."""
ANSWERS_WITHIN = 60.0
"""Seconds after which a starter that says nothing counts as gone; a fork takes some hundredths."""


class Starter:
    """The process, from outside.

    Args:
        module: has `main(arguments) -> exit code`.
        environment: of the process, and so of all runs.
        parent: descriptor that the runs inherit under the same number.

    Attributes:
        stop_requested: it got a signal that asks to stop, and forks no more. The runs it has forked do not know of it.
        gone: it has ended by itself, before it was ready or later; then the runs that it forked are killed.
    """

    def __init__(self, module: str, environment: Mapping[str, str], parent: int) -> None:
        self._pipe, its_end = Pipe()
        with its_end:
            self._process = subprocess.Popen(
                module_command("clsim.launch.starter", str(its_end.fileno()), module),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                pass_fds=[its_end.fileno(), parent],
                start_new_session=True,
            )
        self._ready = False
        self._started: list[int] = []
        self._codes: dict[int, int] = {}
        self.stop_requested = False
        self.gone = False

    def ready(self) -> bool:
        """Tell whether everything is imported."""
        self.listen(0)
        return self._ready and not self.gone

    def start(
        self, arguments: Sequence[str], output: Path, environment: Mapping[str, str] = MappingProxyType({})
    ) -> Forked | None:
        """Fork a run in a session of its own, with its output appended to a file. None: it cannot be forked.

        Args:
            environment: variables of this run alone.
        """
        count = len(self._started)
        with suppress(OSError):
            self._pipe.send((list(arguments), str(output), dict(environment)))
        begun = time.monotonic()
        while len(self._started) == count and not self.gone:
            self.listen(LOOK_EVERY)
            if time.monotonic() - begun > ANSWERS_WITHIN:
                self._process.kill()
        return None if self.gone or self._started[-1] == NO_PROCESS else Forked(self, self._started[-1])

    def code(self, pid: int) -> int | None:
        """Return the exit code of a run, negative for a signal; None while it is at work."""
        self.listen(0)
        return self._codes.get(pid)

    def close(self) -> None:
        """End the process; runs at work go on."""
        self._pipe.close()
        self._process.kill()
        self._process.wait()

    def listen(self, seconds: float) -> None:
        """Read its messages, and wait for the first one for at most `seconds`; one that was stopped is continued."""
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGCONT)
        try:
            while not self.gone and self._pipe.poll(seconds):
                word, *numbers = self._pipe.recv()
                if word == "ready":
                    self._ready = True
                elif word == "stop requested":
                    self.stop_requested = True
                elif word == "started":
                    self._started += numbers
                else:
                    pid, code = numbers
                    self._codes[pid] = code
                seconds = 0
        except (EOFError, OSError):
            self.gone = True
            self._process.wait()
            for pid in self._started:
                if pid not in self._codes and pid != NO_PROCESS:
                    kill_session(pid)
                    self._codes[pid] = -signal.SIGKILL


class Forked:
    """A run that a starter has forked, with the methods of `subprocess.Popen` that the pool needs."""

    def __init__(self, starter: Starter, pid: int) -> None:
        self._starter = starter
        self.pid = pid

    def poll(self) -> int | None:
        """Return the exit code; None while the run is at work."""
        return self._starter.code(self.pid)

    def terminate(self) -> None:
        """Ask the run to end."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def wait(self) -> int:
        """Wait for the end of the run and return its exit code."""
        while (code := self.poll()) is None:
            self._starter.listen(LOOK_EVERY)
        return code


def kill_session(pid: int) -> None:
    """Kill a process that leads a session, and its children."""
    for kill in (os.killpg, os.kill):  # the second for one that does not lead it yet
        with suppress(ProcessLookupError):
            kill(pid, signal.SIGKILL)


def _serve(pipe: Connection, interruption: Interruption) -> list[str]:
    """Fork a run at each request and report the ends of runs. Returns in each child, with its arguments.

    A signal does not end this process, because nobody else could report how the runs end. It is passed on as a message.

    Raises:
        SystemExit: the other end of the pipe is closed.
    """
    announced = False
    try:
        pipe.send(("ready",))
        while True:
            if interruption.requested and not announced:
                pipe.send(("stop requested",))
                announced = True
            if pipe.poll(LOOK_EVERY):
                arguments, output, variables = pipe.recv()
                pid = NO_PROCESS if interruption.requested or _touched_cuda() else _fork()
                if pid == 0:
                    break
                pipe.send(("started", pid))
            _report_ends(pipe)
    except (EOFError, OSError):
        sys.exit(0)
    os.environ.update(variables)
    os.setsid()
    pipe.close()
    _print_into(output)
    return list(arguments)


def _touched_cuda() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_initialized()


def _fork() -> int:
    """Fork as `os.fork` does, but the child has the default signal handlers. NO_PROCESS: it cannot."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # a signal that comes meanwhile is the child's own, and late
    try:
        pid = os.fork()
        if pid == 0:
            for number in SIGNALS:
                if signal.getsignal(number) != signal.SIG_IGN:
                    signal.signal(number, signal.SIG_DFL)
        return pid
    except OSError:  # no memory, or too many processes
        return NO_PROCESS
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _print_into(output: str) -> None:
    file = os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


def _report_ends(pipe: Connection) -> None:
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            pipe.send(("ended", pid, os.waitstatus_to_exitcode(status)))


def _ready_for_runs(module: str) -> Callable[[list[str]], int]:
    """Do once what each run would do for itself before its first step; returns the module's `main`.

    That is the imports, the hash of clsim's code and a look at what packages are installed. What there is then, no run
    will collect: a collector that looks through it in a forked process copies the pages of all modules.
    """
    from clsim.parts import entry_points_of  # here, where signals are handled already
    from clsim.source_code import code_version

    main: Callable[[list[str]], int] = import_module(module).main
    for name in LATE_IMPORTS:
        with suppress(ImportError):
            import_module(name)
    code_version()
    entry_points_of("strategy")
    gc.collect()
    gc.freeze()
    return main


if __name__ == "__main__":
    interruption = Interruption()
    with handled(interruption.take):
        main = _ready_for_runs(sys.argv[2])
        remove_unused_folders()
        end_at_once(main(_serve(Connection(int(sys.argv[1])), interruption)))
