"""Between stored 8-bit images and the normalised batches that networks see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from clsim.scenario.stream.batch_memory import empty_batch

SLICE_BYTES = 1_300_000
"""On a CPU a batch is worked on in slices of this size: larger ones leave the caches and cost several times as much."""


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
