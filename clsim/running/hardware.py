"""Device and threads of a run, resolved before it starts: both are part of its identity."""

from __future__ import annotations

from clsim.cores import usable_cores
from clsim.errors import RunError

DEVICES = ("auto", "cpu", "cuda")


def resolve_threads(requested: str | int, workers: int = 1) -> int:
    """Return the CPU threads of a run: the requested number, or for auto the usable cores divided among `workers`."""
    if requested == "auto":
        return max(1, usable_cores() // workers)
    return int(requested)


def resolve_device(requested: str) -> str:
    """Return cpu or cuda. Imports torch unless cpu is requested.

    Raises:
        RunError: no such device, or cuda is requested and there is none.
    """
    if requested not in DEVICES:
        raise RunError(f"device: given {requested!r}, allowed: {', '.join(DEVICES)}")
    if requested == "cpu":
        return requested
    import torch  # here, because planning must stay cheap

    available = torch.cuda.is_available()
    if requested == "cuda" and not available:
        raise RunError("--device cuda: no CUDA device is available; allowed here: auto, cpu")
    return "cuda" if available else "cpu"
