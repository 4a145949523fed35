"""A run as a child process of the one that starts it, on whatever machine that is."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress

from clsim.children import SAFE_PATH, module_command
from clsim.launch.engines import Order
from clsim.launch.starter import Forked, kill_session
from clsim.running.hardware import VISIBLE
from clsim.running.run_folder import RunFolder

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
LOOK_EVERY = 0.1
"""Seconds between two looks of an attempt at its child."""


class Process:
    """A run of this machine, as a `Handle`."""

    reason = ""
    notes = ()

    def __init__(self, popen: subprocess.Popen[bytes] | Forked) -> None:
        self._popen = popen

    def poll(self) -> int | None:
        """Return the exit code; None while the run is at work."""
        return self._popen.poll()

    def stop(self) -> None:
        """Ask the run to write a checkpoint and end."""
        self._popen.terminate()
        with suppress(ProcessLookupError):
            os.kill(self._popen.pid, signal.SIGCONT)  # one that was stopped does not see the request

    def kill(self) -> None:
        """Kill the run and what it has started."""
        if self._popen.poll() is None:
            kill_session(self._popen.pid)


class Attempt:
    """A run as the child of a process that an engine has started, on any machine, for this run alone.

    If that process is killed, the run notices it by a pipe, and saves itself and ends.
    """

    def __init__(self, order: Order) -> None:
        self._reading, self._writing = os.pipe()  # the end `_writing` stays in this process, and goes with it
        self._process = Process(begin(order, self._reading, run_environment(order.threads), vouched=True))

    def wait(self) -> int:
        """Wait for the end of the run and return its exit code."""
        while (code := self._process.poll()) is None:
            time.sleep(LOOK_EVERY)
        return code

    def stop(self) -> None:
        """Ask the run to write a checkpoint and end."""
        self._process.stop()

    def kill(self) -> None:
        """Kill the run and what it has started."""
        self._process.kill()


def run_environment(threads: int) -> dict[str, str]:
    """Return the environment variables of a run: those of this process, with the number of threads."""
    return os.environ | SAFE_PATH | dict.fromkeys(THREAD_VARIABLES, str(threads))


def run_arguments(order: Order, parent: int, vouched: bool = False) -> list[str]:
    """Return the arguments of `MODULE` for a run that inherits the descriptor `parent`.

    Args:
        vouched: no other attempt at the order is alive.
    """
    share = [] if order.first_task is None else [str(order.first_task)]
    attempt = ["--order", order.token] if vouched else []
    return [str(order.folder), *share, *attempt, "--parent", str(parent)]


def gpu_of(order: Order) -> dict[str, str]:
    """Return the environment variable that lets a run see its GPU alone; none, if that is of no concern."""
    return {} if order.gpu is None else {VISIBLE: order.gpu}


def begin(order: Order, parent: int, environment: Mapping[str, str], vouched: bool = False) -> subprocess.Popen[bytes]:
    """Start a run in a session of its own, with its output appended to a file in its folder.

    Args:
        parent, vouched: as of `run_arguments`.
    """
    with RunFolder(order.folder).output.open("ab") as output:
        return subprocess.Popen(
            module_command(order.module, *run_arguments(order, parent, vouched)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**environment, **gpu_of(order)},
            pass_fds=[parent],
            start_new_session=True,
        )
