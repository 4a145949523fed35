"""How a machine is divided among the runs of a comparison: runs at a time, threads of each, and a GPU for each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clsim.cores import usable_cores
from clsim.errors import RunError, did_you_mean
from clsim.launch.arguments import as_seed
from clsim.launch.reuse import recorded_threads
from clsim.running.hardware import device_kind, resolve_device, resolve_threads, visible_gpus

ALL = "all"
ELSEWHERE = ("cpu", "cuda", "mps")


@dataclass(frozen=True)
class Node:
    """A machine that an engine has.

    Attributes:
        cores: that runs may use.
        runs: most at a time, such as the shares of its GPUs; None: as many as the cores allow.
    """

    cores: int
    runs: int | None = None

    def places(self, threads: int) -> int:
        """Return how many runs with so many threads it takes at a time."""
        places = self.cores // threads
        return places if self.runs is None else min(places, self.runs)


@dataclass(frozen=True)
class Hardware:
    """What the runs of a comparison may use, checked.

    Attributes:
        device: cpu, cuda or mps.
        gpus: names of GPUs as in CUDA_VISIBLE_DEVICES; empty: the device is another one.
        per_gpu: runs at a time on each GPU; None: as many as `workers` asks for, by default one.
        workers: runs at a time; None: as many as cores or GPUs allow.
        nodes: machines of an engine that itself gives each run its GPU; empty: this machine.
    """

    device: str
    gpus: tuple[str, ...] = ()
    per_gpu: int | None = None
    workers: int | None = None
    nodes: tuple[Node, ...] = ()

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of GPUs, one per share of a GPU; the shares of one GPU are not neighbours."""
        if not self.gpus:
            return ()
        return self.gpus * (self.per_gpu or -(-(self.workers or 1) // len(self.gpus)))


@dataclass(frozen=True)
class Division:
    """How a machine is divided.

    Attributes:
        threads: of each run, which are part of its identity.
        workers: runs at a time.
        slots: see `Hardware.slots`.
    """

    threads: int
    workers: int
    slots: tuple[str, ...] = ()


def check_hardware(
    device: str, gpus: str | int | Sequence[str | int] | None, per_gpu: int | None, workers: int | None
) -> Hardware:
    """Return the arguments of `clsim.compare` that concern the machine, checked.

    Raises:
        RunError: one of them cannot be, or they contradict each other.
    """
    workers, per_gpu = at_least_one(workers, "workers"), at_least_one(per_gpu, "per_gpu")
    if gpus is not None and device not in ("auto", "cuda"):
        raise RunError(f"gpus: given {gpus}, but the device is {device}; give one of them")
    found = resolve_device(device if gpus is None else "cuda")
    if device_kind(found) != "cuda":
        if per_gpu is not None:
            raise RunError(f"per_gpu: given {per_gpu}, but the device is {found}")
        return Hardware(found, workers=1 if found == "mps" and workers is None else workers)
    visible = visible_gpus()
    if ":" in found:
        number = int(found.partition(":")[2])
        visible = visible[number : number + 1]
    chosen = tuple(visible) if gpus is None else _chosen(gpus, visible)
    if not chosen:
        raise RunError("gpus: CUDA_VISIBLE_DEVICES names no GPU")
    if per_gpu is not None and workers is not None and workers > per_gpu * len(chosen):
        places = f"{len(chosen)} GPUs with {per_gpu} runs on each"
        raise RunError(f"workers: given {workers}, but there are {places}; at most {per_gpu * len(chosen)}")
    return Hardware("cuda", chosen, per_gpu, workers)


def check_elsewhere(device: str, threads: str | int, **here: Any) -> Hardware:
    """Return what runs may use that are only prepared here, and carried out on other machines.

    Args:
        device: cpu, cuda or mps; this machine need not have it.
        threads: of each run.
        here: arguments that concern this machine, which must be None.

    Raises:
        RunError: device or threads would be those of this machine.
    """
    if device not in ELSEWHERE:
        raise RunError(
            f"device: given {device!r}, but the runs are prepared for other machines; allowed: {', '.join(ELSEWHERE)}"
        )
    if threads == "auto":
        raise RunError("threads: auto, but the runs are prepared for other machines; give a number: --set threads=4")
    for name, value in here.items():
        if value is not None:
            raise RunError(f"{name}: given {value}, but the runs are only prepared here; it is said where they are run")
    return Hardware(device)


def divide(hardware: Hardware, requested: str | int, runs: int, earlier: Iterable[Path]) -> Division:
    """Divide the cores among the runs at a time: as many threads for each as all of them can have, at least one.

    With `threads: auto`, runs that are reused or continued give their number of threads to the new ones.

    Args:
        requested: threads of each run, or auto.
        runs: how many there are.
        earlier: folders of runs that are there.
    """
    recorded = recorded_threads(earlier) if requested == "auto" else None
    if hardware.gpus or hardware.device == "mps":
        workers = hardware.workers or len(hardware.slots)
        return Division(recorded or resolve_threads(requested, min(workers, runs)), workers, hardware.slots)
    nodes = hardware.nodes or (Node(usable_cores()),)
    at_a_time = min(runs, hardware.workers or runs)
    threads = recorded or (_most_threads(nodes, at_a_time) if requested == "auto" else int(requested))
    return Division(threads, hardware.workers or max(1, sum(node.places(threads) for node in nodes)))


def _most_threads(nodes: Sequence[Node], runs: int) -> int:
    """Return the threads of each run with which so many, or as many as there are places, run at a time."""
    fit = (
        threads
        for threads in range(max(node.cores for node in nodes), 0, -1)
        if sum(node.places(threads) for node in nodes) >= min(runs, sum(node.places(1) for node in nodes))
    )
    return next(fit, 1)


def _chosen(gpus: str | int | Sequence[str | int], visible: Sequence[str]) -> tuple[str, ...]:
    """Return the GPUs that were asked for, each once.

    DECIDED: they are named as in CUDA_VISIBLE_DEVICES where that is set, so that a number means one GPU only.
    """
    given = gpus.split(",") if isinstance(gpus, str) else [gpus] if isinstance(gpus, int) else list(gpus)
    names = list(dict.fromkeys(str(name).strip() for name in given))
    if names == [ALL]:
        return tuple(visible)
    if not names:
        raise RunError(f"gpus: none are given; allowed: {ALL}, {', '.join(visible)}")
    for name in names:
        by_text = name.startswith(("GPU-", "MIG-")) and all(one.isdigit() for one in visible)
        if name not in visible and not by_text:  # CUDA itself knows the UUIDs of GPUs with numbers
            allowed = ", ".join([ALL, *visible])
            raise RunError(f"gpus: given {name!r}, allowed: {allowed}{did_you_mean(name, visible)}")
    return tuple(names)


def at_least_one(value: int | None, name: str) -> int | None:
    """Return a number of runs at a time, or of the like; None: not given."""
    if value is not None and as_seed(value, name) < 1:
        raise RunError(f"{name}: given {value}, must be at least 1")
    return value
