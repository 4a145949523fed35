"""Between stored 8-bit images and the normalised batches that networks see, at the pace of the memory."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from contextlib import suppress

import torch
from torch import Tensor

SLICE_BYTES = 1_000_000
"""On a CPU a batch is worked on in slices of this size: larger ones leave the caches and cost several times as much."""
HUGE_PAGES = 4_000_000
"""From so many bytes on a batch lies in huge pages."""


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
        """Normalised images, float32 [B, 3, H, W], of uint8 ones on the CPU."""
        x = empty_batch(values.shape)
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


def empty_batch(shape: Sequence[int]) -> Tensor:
    """Memory of a batch, float32, of any content.

    A large batch gets fresh memory from the kernel each time, since whoever keeps the one before must not see it
    change. In pages of 4 kB that takes as long as to normalise the images, so huge ones are asked for, where there are.
    """
    size = 4 * torch.Size(shape).numel()
    if size < HUGE_PAGES or not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.empty(shape)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without them
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=torch.float32).view(shape)  # holds the memory as long as it lives
