"""Device and threads of a run, resolved before it starts: the kind of device and the threads are in its identity."""

from __future__ import annotations

import os
import re

from clsim.cores import usable_cores
from clsim.errors import RunError
from clsim.torchrun import this_process

DEVICES = ("auto", "cpu", "cuda", "cuda:0", "mps")
"""What may be asked for; in the place of 0 any number of a GPU."""
VISIBLE = "CUDA_VISIBLE_DEVICES"
"""The variable that says which GPUs a process may use."""

_CUDA = re.compile(r"cuda(?::(0|[1-9]\d*))?")
_GPU_NAME = re.compile(r"\d+|(?:GPU|MIG)-\S+")


def resolve_threads(requested: str | int, workers: int = 1) -> int:
    """Return the CPU threads of a run: the requested number, or for auto the usable cores divided among `workers`."""
    if requested == "auto":
        return max(1, usable_cores() // workers)
    return int(requested)


def resolve_device(requested: str) -> str:
    """Return cpu, cuda, cuda:N or mps. Imports torch unless cpu is requested.

    Where torchrun has started several processes, each gets the GPU of its number on its machine.

    Raises:
        RunError: no such device, or this machine does not have it.
    """
    cuda = _CUDA.fullmatch(requested)
    if requested not in DEVICES and cuda is None:
        raise RunError(f"device: given {requested!r}, allowed: {', '.join(DEVICES)}")
    if requested == "cpu":
        return requested
    process = this_process()
    import torch  # here, because planning must stay cheap

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if process.count > 1 and (count or requested != "auto"):
        return _gpu_of_rank(requested, process.local_rank, count)
    if requested == "auto":
        return "cuda" if count else "cpu"
    if requested == "mps":
        if torch.backends.mps.is_available():
            return requested
        raise RunError("--device mps: Apple's GPU is not available here")
    if not count:
        raise RunError(f"--device {requested}: no CUDA device is available; allowed here: auto, cpu")
    if cuda is not None and cuda[1] is not None and int(cuda[1]) >= count:
        names = ", ".join(f"cuda:{number}" for number in range(count))
        raise RunError(f"--device {requested}: no such CUDA device; allowed here: auto, cpu, cuda, {names}")
    return requested


def _gpu_of_rank(requested: str, local_rank: int, count: int) -> str:
    """Return the GPU of a rank: the one whose number it has on its machine."""
    own = f"cuda:{local_rank}"
    if requested not in ("auto", "cuda", own):
        raise RunError(f"--device {requested}: each of several ranks has a GPU of its own; allowed: auto, cpu, cuda")
    if local_rank >= count:
        raise RunError(
            f"--device {requested}: {local_rank + 1} or more ranks on this machine, which shows {count} GPUs"
        )
    return own


def device_kind(device: str) -> str:
    """Return cpu, cuda or mps: what of a device is part of a run's identity."""
    return device.partition(":")[0]


def visible_gpus() -> list[str]:
    """Return the names of the GPUs that this process may use, as they stand in CUDA_VISIBLE_DEVICES.

    They are numbers, UUIDs of GPUs, or names of MIG instances. Like CUDA, it stops at the first text that is no name.
    Without the variable they are numbers from 0. Imports torch in that case.
    """
    inherited = os.environ.get(VISIBLE)
    if inherited is None:
        import torch

        return [str(number) for number in range(torch.cuda.device_count())]
    names: list[str] = []
    for text in inherited.split(","):
        if _GPU_NAME.fullmatch(text.strip()) is None:
            break
        names.append(text.strip())
    return list(dict.fromkeys(names))
