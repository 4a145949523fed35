"""Runs on a Ray cluster, which has its machines or gets them, and says at once when one is lost.

Each run is the child of a Ray actor of its own, which holds the run's cores and share of a GPU. The machines share the
folder of the runs and have the same installation; nothing is sent to them but the name of the folder.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from clsim.errors import RunError
from clsim.launch.engines import LOST, Engine, Order, check_retries, refuse_gpus
from clsim.launch.engines.process import Attempt
from clsim.launch.slots import Hardware, Node, at_least_one
from clsim.running.interruption import INTERRUPTED

AUTO = "auto"
START = "ray start --head"
REACHED_WITHIN = 5.0
"""Seconds in which the head of a cluster answers."""
KILLED_WITHIN = 5.0
"""Seconds after which a run that was to be killed is lost with its actor."""
DEVICES = ("auto", "cpu", "cuda")
_SKIPPED_LINES = "RAY_DEDUP_LOGS_SKIP_REGEX"
_NODE_DIED = "its node has died"


@dataclass(frozen=True)
class RayEngine(Engine):
    """A Ray cluster.

    Args:
        address: auto (the cluster of this machine, or RAY_ADDRESS), or host:port of the head.
        gpus_per_run: share of a GPU, or whole GPUs, that a run on GPUs holds.
        retries: how often a run is repeated after its worker or machine is lost; it continues from its checkpoint.

    Raises:
        RunError: one of them cannot be.
    """

    address: str = AUTO
    gpus_per_run: float = 1.0
    retries: int = 3

    def __post_init__(self) -> None:
        check_retries(self.retries)
        number = isinstance(self.gpus_per_run, int | float) and not isinstance(self.gpus_per_run, bool)
        if not number or not 0 < self.gpus_per_run < float("inf") or (self.gpus_per_run > 1 and self.gpus_per_run % 1):
            raise RunError(
                f"gpus_per_run: given {self.gpus_per_run!r}, expected a share such as 0.5, or whole GPUs such as 2"
            )
        if not isinstance(self.address, str) or (self.address != AUTO and _host_and_port(self.address) is None):
            raise RunError(f"address: given {self.address!r}, allowed: {AUTO}, or host:port as in 10.0.0.1:6379")

    def slots(
        self,
        device: str,
        threads: str | int,
        *,
        workers: int | None,
        gpus: str | int | Sequence[str | int] | None,
        per_gpu: int | None,
    ) -> Hardware:
        """Return the machines of the cluster as they are now; `auto` is cuda if one of them has a GPU."""
        refuse_gpus("Ray", "gpus_per_run", gpus=gpus, per_gpu=per_gpu)
        workers = at_least_one(workers, "workers")
        if device not in DEVICES:
            raise RunError(
                f"device: given {device!r}, but the runs are on a Ray cluster; allowed: {', '.join(DEVICES)}"
            )
        with self._connected() as ray:
            found = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if device == "auto":
            device = "cuda" if any(node.get("GPU", 0) >= self.gpus_per_run for node in found) else "cpu"
        shares = [int(node.get("GPU", 0) / self.gpus_per_run) if device == "cuda" else None for node in found]
        cores = [int(node.get("CPU", 0)) for node in found]
        nodes = tuple(Node(each, share) for each, share in zip(cores, shares, strict=True) if each and share != 0)
        if not nodes:
            needed = f"{self.gpus_per_run:g} GPUs and a core" if device == "cuda" else "a core"
            raise RunError(f"engine ray: no machine of the cluster at {self.address} has {needed} for a run")
        most = max(node.cores for node in nodes)
        if threads != "auto" and int(threads) > most:
            raise RunError(f"threads: given {threads}, but no machine of the Ray cluster has more than {most} cores")
        return Hardware(device, workers=workers, nodes=nodes)

    @contextmanager
    def at_work(self, threads: int, fork: bool) -> Iterator[None]:
        """Be connected to the cluster while the block runs."""
        with self._connected():
            yield

    def start(self, order: Order) -> _Run:
        """Start a run where the cluster has a place for it, or let it wait for one."""
        return _Run(order.absolute(), self)

    @contextmanager
    def _connected(self) -> Iterator[ModuleType]:
        """Be connected to the cluster, unless this process is already.

        Raises:
            RunError: Ray is not installed, or does not answer.
        """
        ray = _ray()
        if ray.is_initialized():
            yield ray
            return
        if self.address != AUTO:
            _refuse_silent(self.address)
        with _own_handler(signal.SIGTERM):
            try:
                ray.init(address=self.address, log_to_driver=False, logging_level="ERROR", namespace="clsim")
            except (ConnectionError, RuntimeError, ValueError, SystemExit) as error:
                if self.address == AUTO and isinstance(error, ConnectionError):
                    raise RunError(
                        f"engine ray: no cluster runs on this machine; start one with: {START}, or give its address"
                    ) from None
                first_line = str(error).partition("\n")[0]
                raise RunError(f"engine ray: no cluster at {self.address}: {first_line}") from None
        try:
            yield ray
        finally:
            with _own_handler(signal.SIGTERM):
                ray.shutdown()


class _Remote:
    """The run, in the actor's process; its methods are called from threads of it."""

    def __init__(self, order: Order) -> None:
        self._attempt = Attempt(order)

    def wait(self) -> int:
        """Return the exit code, once the run has ended."""
        return self._attempt.wait()

    def up(self) -> bool:
        """Return True, once the run has been started."""
        return True

    def stop(self) -> None:
        """Ask the run to write a checkpoint and end."""
        self._attempt.stop()

    def kill(self) -> None:
        """Kill the run."""
        self._attempt.kill()


class _Run:
    """A run in this process's view, as a `Handle`. One that is lost is tried again, up to `retries` times."""

    def __init__(self, order: Order, engine: RayEngine) -> None:
        self._order, self._engine = order, engine
        self._ray = _ray()
        self._lost = 0
        self._code: int | None = None
        self._stopped = False
        self._killed: float | None = None
        self.reason = ""
        self.notes: list[str] = []
        self._begin()

    def poll(self) -> int | None:
        """Return the exit code; None: the run waits for a place, is at work, or is tried again."""
        if self._code is None and self._ended(self._end):
            try:
                self._code = self._ray.get(self._end)
                self._ray.kill(self._actor)
            except self._ray.exceptions.RayError as error:
                self._code = self._after_loss(error)
        return self._code

    def stop(self) -> None:
        """Ask the run to write a checkpoint and end; one that waits for a place is taken back."""
        self._stopped = True
        if self._ended(self._up):
            self._actor.stop.remote()
        else:
            self._ray.kill(self._actor)

    def kill(self) -> None:
        """Kill the run; after a while with its actor, which may not answer."""
        if self._killed is None:
            self._killed = time.monotonic()
            self._actor.kill.remote()
        if not self._ended(self._up) or time.monotonic() - self._killed > KILLED_WITHIN:
            self._ray.kill(self._actor)

    def _begin(self) -> None:
        gpus = self._engine.gpus_per_run if self._order.device == "cuda" else 0
        remote = self._ray.remote(num_cpus=self._order.threads, num_gpus=gpus, max_concurrency=4)(_Remote)
        self._actor = remote.remote(self._order)
        self._up, self._end = self._actor.up.remote(), self._actor.wait.remote()

    def _ended(self, reference: Any) -> bool:
        return bool(self._ray.wait([reference], timeout=0)[0])

    def _after_loss(self, error: Exception) -> int | None:
        """Return the exit code of a run whose actor is gone; None: it is tried again."""
        if self._killed is not None:
            return -signal.SIGKILL
        if self._stopped:
            return INTERRUPTED
        if getattr(error, "actor_init_failed", False) or not isinstance(error, self._ray.exceptions.RayActorError):
            self.reason = f"Ray could not start it: {str(error).strip().splitlines()[-1]}"
            return LOST
        what = "its machine was lost" if _NODE_DIED in str(error) else "its worker was lost"
        self._lost += 1
        if self._lost > self._engine.retries:
            self.reason = f"{what}, {self._lost} times in all"
            return LOST
        self.notes.append(f"{what}; tried again, {self._lost} of {self._engine.retries}, from its last checkpoint")
        self._begin()
        return None


def _ray() -> ModuleType:
    """Import Ray, which is to print nothing of its own between the lines of a comparison.

    Raises:
        RunError: it is not installed.
    """
    is_quiet = _SKIPPED_LINES in os.environ
    os.environ.setdefault(_SKIPPED_LINES, ".")  # every line; read once, when Ray is imported
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise RunError("engine ray: Ray is not installed: pip install 'clsim[ray]'") from None
    finally:
        if not is_quiet:
            del os.environ[_SKIPPED_LINES]
    return ray


def _host_and_port(address: str) -> tuple[str, int] | None:
    host, _, port = address.rpartition(":")
    return (host.strip("[]"), int(port)) if host and "/" not in host and port.isdecimal() else None


def _refuse_silent(address: str) -> None:
    """Raise RunError if nothing listens at the address; Ray itself would try for two minutes."""
    place = _host_and_port(address)
    assert place is not None
    try:
        socket.create_connection(place, timeout=REACHED_WITHIN).close()
    except (OSError, OverflowError) as error:
        text = getattr(error, "strerror", None) or error
        raise RunError(f"engine ray: no cluster at {address}: {text}; start one with: {START}") from None


@contextmanager
def _own_handler(number: signal.Signals) -> Iterator[None]:
    """Keep the handler of a signal, which Ray replaces."""
    handler = signal.getsignal(number)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(number, handler)
