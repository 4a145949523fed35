"""Between stored 8-bit images and the normalised batches that networks see, at the pace of the memory."""

from __future__ import annotations

import mmap
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np
import torch
from torch import Tensor

SLICE_BYTES = 1_300_000
"""On a CPU a batch is worked on in slices of this size: larger ones leave the caches and cost several times as much."""
HUGE_PAGES = 4_000_000
"""From so many bytes on a batch lies in huge pages."""
_spare: deque[mmap.mmap] = deque(maxlen=2)
"""Memory of batches that nobody keeps; as many as take turns in a loop."""


class Normalisation:
    """Between 8-bit values, RGB 0..255, and what a network sees: (value / 255 - mean) / std, channel by channel.

    Args:
        mean, std: three numbers each.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device | str | None = None) -> None:
        spread = torch.tensor(std, dtype=torch.float32).view(3, 1, 1)
        self._scale = (1 / (255 * spread)).to(device)
        self._spread = (255 * spread).to(device)
        self._shift = (torch.tensor(mean, dtype=torch.float32).view(3, 1, 1) / spread).to(device)

    def of_bytes(self, values: Tensor) -> Tensor:
        """Normalised images, float32 [B, 3, H, W], of uint8 ones, on their device."""
        x = empty_batch(values.shape, values.device)
        for rows in slices(x):
            self.apply_(x[rows].copy_(values[rows]))
        return x

    def apply_(self, values: Tensor, out: Tensor | None = None) -> Tensor:
        """Normalise float32 [..., 3, H, W], into `out` or else in place."""
        return torch.mul(values, self._scale, out=values if out is None else out).sub_(self._shift)

    def undo_(self, x: Tensor) -> Tensor:
        """The 8-bit values that were normalised, as float32, in place; exact, because rounding ends far from halves."""
        return x.add_(self._shift).mul_(self._spread).round_()


def slices(x: Tensor) -> Iterator[slice]:
    """Rows of a batch to be worked on together. They depend on it alone, as the last bits of sums might on them."""
    rows = len(x)
    if x.device.type == "cpu" and rows:
        rows = max(1, SLICE_BYTES // (x[0].numel() * x.element_size()))
    for start in range(0, len(x), max(1, rows)):
        yield slice(start, start + rows)


def empty_batch(shape: Sequence[int], device: torch.device | None = None) -> Tensor:
    """Memory of a batch, float32, of any content.

    Whoever keeps an earlier batch must not see it change, and fresh memory from the kernel takes as long as to
    normalise the images. So on a CPU a large batch gets memory of one that nobody keeps any more, or else fresh memory
    in huge pages, where there are.
    """
    size = 4 * torch.Size(shape).numel()
    on_cpu = device is None or device.type == "cpu"
    if not on_cpu or size < HUGE_PAGES or not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.empty(shape, device=device)
    memory = _spare_memory(size)
    held = np.frombuffer(memory, dtype=np.float32)  # by every tensor that shares the memory
    weakref.finalize(held, _spare.append, memory).atexit = False
    return torch.from_numpy(held).view(shape)


def _spare_memory(size: int) -> mmap.mmap:
    with suppress(IndexError):
        memory = _spare.pop()
        if len(memory) == size:
            return memory
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without them
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory
