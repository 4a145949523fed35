"""Where the runs of a comparison are carried out: on this machine, or by Ray or Slurm on others.

An engine says how many runs it can carry out at a time (`slots`), and starts them (`start`). Their order, what they
share, what is reused, progress, and how a comparison is stopped belong to the pool, and are the same for every engine.
The numbers are the same as well: each run is the same command in a process of its own, with the same threads.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from clsim.errors import RunError
from clsim.launch.arguments import as_seed
from clsim.launch.slots import Hardware

MODULE = "clsim.running.execution"
"""Its `main` carries out a prepared folder; see there for its arguments."""
LOST = 13
"""Exit code of a run whose process, or the machine under it, was lost more often than it may be tried again."""


@dataclass(frozen=True)
class Order:
    """A prepared run to carry out.

    Attributes:
        first_task: folder of the first task that it shares; None: it shares none.
        threads: of the run.
        device: cpu, cuda or mps.
        gpu: the only GPU that it sees, as in CUDA_VISIBLE_DEVICES; None: what the engine gives it.
        token: of all attempts at this order, of which only one is alive; see `clsim.running.folder_lock.locked`.
        module: see `MODULE`.
    """

    folder: Path
    first_task: Path | None
    threads: int
    device: str = "cpu"
    gpu: str | None = None
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    module: str = field(default_factory=lambda: MODULE)

    def absolute(self) -> Order:
        """Return the order for a process with another working directory."""
        share = None if self.first_task is None else self.first_task.absolute()
        return replace(self, folder=self.folder.absolute(), first_task=share)


class Handle(Protocol):
    """A run that was started."""

    @property
    def reason(self) -> str:
        """Why it failed, where the exit code alone does not say; else empty."""

    @property
    def notes(self) -> Sequence[str]:
        """What a user should know of it, such as that it is tried again."""

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None: it waits for a place, or is at work."""

    def stop(self) -> None:
        """Ask it to write a checkpoint and end. Called once."""

    def kill(self) -> None:
        """End it at once. Called again and again until it has ended."""


class Engine(ABC):
    """Carries out runs.

    Attributes:
        stop_requested: it was asked to stop, by something that this process did not see.
    """

    stop_requested = False

    @abstractmethod
    def slots(
        self,
        device: str,
        threads: str | int,
        *,
        workers: int | None,
        gpus: str | int | Sequence[str | int] | None,
        per_gpu: int | None,
    ) -> Hardware:
        """Return what the runs may use: the device that their identities name, and how many run at a time.

        Args:
            device, workers, gpus, per_gpu: as in `clsim.compare`.
            threads: of each run, or auto.

        Raises:
            RunError: the engine cannot be had, or does not have what is asked for.
        """

    def at_work(self, threads: int, fork: bool) -> AbstractContextManager[None]:
        """Be ready to start runs while the block runs; none is at work at its end.

        Args:
            threads: of each run.
            fork: start them by a process that has the imports behind it, if the engine can.
        """
        return nullcontext()

    def ready(self) -> bool:
        """Tell whether a run can be started now."""
        return True

    @abstractmethod
    def start(self, order: Order) -> Handle:
        """Start a run, or queue it."""


def check_retries(value: int) -> None:
    """Raise RunError if it is no number of times that a lost run may be tried again."""
    if as_seed(value, "retries") < 0:
        raise RunError(f"retries: given {value}, must be 0 or more")


def refuse_gpus(engine: str, instead: str, **given: object) -> None:
    """Raise RunError for arguments that choose among the GPUs of this machine.

    Args:
        engine: that gives each run its GPU.
        instead: which of its settings says how many.
        given: the arguments; None: not given.
    """
    for name, value in given.items():
        if value is not None:
            raise RunError(f"{name}: given {value}, but {engine} gives each run its GPU; say how much of it: {instead}")
