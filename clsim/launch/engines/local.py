"""Runs on this machine: each a process, forked from one that has the imports behind it where that can be."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from clsim.launch import engines
from clsim.launch.engines import Engine, Order
from clsim.launch.engines.process import Process, begin, gpu_of, run_arguments, run_environment
from clsim.launch.slots import Hardware, check_hardware
from clsim.launch.starter import Starter
from clsim.running.run_folder import RunFolder


class LocalEngine(Engine):
    """This machine.

    Runs are sessions of their own, so that a terminal's Ctrl-C reaches the comparison's process alone. If that process
    is killed, each run notices at the next point where it can be cut, by a pipe, and saves itself and ends.
    """

    def __init__(self) -> None:
        self._starter: Starter | None = None
        self._environment: Mapping[str, str] = {}
        self._parent = -1

    def slots(
        self,
        device: str,
        threads: str | int,
        *,
        workers: int | None,
        gpus: str | int | Sequence[str | int] | None,
        per_gpu: int | None,
    ) -> Hardware:
        """Return what the runs may use of this machine; see `check_hardware`."""
        return check_hardware(device, gpus, per_gpu, workers)

    @contextmanager
    def at_work(self, threads: int, fork: bool) -> Iterator[None]:
        """Keep the pipe that the runs watch, and the process that forks them, while the block runs."""
        self._parent, alive = os.pipe()  # its end `alive` stays in this process, and goes with it
        self._environment = run_environment(threads)
        self._starter = None
        if fork:
            with suppress(OSError):  # too many processes: each run is then begun anew, or waits
                self._starter = Starter(engines.MODULE, self._environment, self._parent)
        try:
            yield
        finally:
            if self._starter is not None:
                self._starter.close()
            os.close(self._parent)
            os.close(alive)

    def ready(self) -> bool:
        """Tell whether the starter has imported everything, or there is none."""
        return self._starter is None or self._starter.ready() or self._starter.gone

    @property
    def stop_requested(self) -> bool:  # type: ignore[override]  # of the starter, which reads its messages
        """Whether the starter got a signal that asks to stop."""
        return self._starter is not None and self._starter.stop_requested

    def start(self, order: Order) -> Process:
        """Start a run, forked by the starter if it can."""
        if self._starter is not None:
            arguments, output = run_arguments(order, self._parent), RunFolder(order.folder).output
            if (forked := self._starter.start(arguments, output, gpu_of(order))) is not None:
                return Process(forked)
        return Process(begin(order, self._parent, self._environment))
