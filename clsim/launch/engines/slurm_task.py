"""What a job of Slurm does: one run as its child, and what signals mean to it.

SIGUSR2, which Slurm sends before the time limit and at a preemption, means to write a checkpoint and go back into the
queue; submitit does that by `checkpoint`. SIGTERM means to write a checkpoint; Slurm sends it before it ends a job, and
alone knows whether the job comes back. The first SIGINT means to write a checkpoint and end, the second to end at once.
"""

from __future__ import annotations

import os
import signal
import time
from types import FrameType
from typing import Any

from clsim.launch.engines import Order
from clsim.launch.engines.process import Attempt
from clsim.running.interruption import INTERRUPTED

FOR_TASK = (signal.SIGINT, signal.SIGUSR2)
"""Signals that are for the task alone; the run would end at once by them."""
LAST_WORDS = 600.0
"""Seconds for which a task that SIGTERM has stopped waits for Slurm to end it, and perhaps to requeue it."""


class Task:
    """The function that submitit calls in the job; it may be called again after a requeue."""

    def __init__(self, order: Order) -> None:
        self.order = order

    def __call__(self) -> int:
        """Carry out the run and return its exit code."""
        self._terminated = self._interrupted = False
        signal.pthread_sigmask(signal.SIG_BLOCK, FOR_TASK)  # the child, which Slurm sends them too, inherits the mask
        self._attempt = Attempt(self.order)
        signal.signal(signal.SIGINT, self._interrupt)
        signal.signal(signal.SIGTERM, self._terminate)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FOR_TASK)
        code = self._attempt.wait()
        if self._terminated and not self._interrupted and code == INTERRUPTED and _under_slurm():
            time.sleep(LAST_WORDS)
        return code

    def checkpoint(self) -> Any:
        """Have the run write a checkpoint and end, and return what submitit is to call after the requeue."""
        from submitit.helpers import DelayedSubmission

        self._attempt.stop()
        self._attempt.wait()
        return DelayedSubmission(Task(self.order))

    def _terminate(self, number: int, frame: FrameType | None) -> None:
        self._terminated = True
        self._attempt.stop()

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._interrupted or (self._terminated and not _under_slurm()):
            self._attempt.kill()
        else:
            self._attempt.stop()
        self._interrupted = True


def _under_slurm() -> bool:
    """Tell a job of Slurm from a process of submitit's local executor, which is stopped by SIGTERM, then SIGINT."""
    return os.environ.get("SUBMITIT_EXECUTOR") == "slurm"
