"""A run that is out of memory, in one line that says what to change."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from clsim.errors import OutOfMemoryError
from clsim.scenario.schema import ScenarioConfig

_HOST = re.compile(r"can't allocate memory|not enough memory|\bCannot allocate memory\b")
_GPU = re.compile(r"\bout of memory\b", re.IGNORECASE)
_ASKED = re.compile(r"(?:tried|you tried) to allocate (\d[\d.]* ?\w+)", re.IGNORECASE)


@contextmanager
def shortage_named(config: ScenarioConfig, device: str, place: Callable[[], str] | None = None) -> Iterator[None]:
    """Turn what PyTorch, NumPy or Python raise for want of memory into an error of one line.

    Args:
        config: of the run.
        device: cpu, cuda, cuda:N or mps.
        place: says where the run stands; None: before training.

    Raises:
        OutOfMemoryError: the block was out of memory, perhaps inside of something that failed for it.
    """
    try:
        yield
    except OutOfMemoryError:
        raise
    except Exception as error:
        cause = _shortage(error)
        if cause is None:
            raise
        asked = _ASKED.search(str(cause))
        where = "before training" if place is None else place()
        memory = "of the machine" if _is_of_host(cause) else f"of {device}"
        amount = f", at an allocation of {asked[1]}" if asked else ""
        training = config.training
        raise OutOfMemoryError(
            f"out of memory {memory} {where}{amount}; it needs less with fewer runs at a time "
            f"(--workers, on GPUs --per-gpu), or, as another run, with a smaller training.batch_size (now "
            f"{training.batch_size}) or training.model.image_size (now {training.model.image_size})"
            + (", or with training.precision=bfloat16" if training.precision == "float32" else "")
        ) from error


def _shortage(error: BaseException) -> BaseException | None:
    """Return the want of memory that an error is, or comes from; None: it is another one."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MemoryError | torch.OutOfMemoryError):
            return seen
        text = str(seen)
        if isinstance(seen, RuntimeError) and (_HOST.search(text) or _GPU.search(text)):
            return seen
        seen = seen.__cause__
    return None


def _is_of_host(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or _HOST.search(str(error)) is not None
