"""Between stored 8-bit images and the normalised batches that networks see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from clsim.scenario.stream.batch_memory import empty_batch
from clsim.transfer import sent

SLICE_BYTES = 1_300_000
"""On a CPU a batch is worked on in slices of this size: larger ones leave the caches and cost several times as much."""


class Normalisation:
    """Between 8-bit values, RGB 0..255, and what a network sees: (value / 255 - mean) / std, channel by channel.

    Args:
        mean, std: three numbers each.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        spread = torch.tensor(std, dtype=torch.float32).view(3, 1, 1)
        shift = torch.tensor(mean, dtype=torch.float32).view(3, 1, 1) / spread
        self._factors: dict[torch.device, tuple[Tensor, ...]] = {
            spread.device: (1 / (255 * spread), 255 * spread, shift)
        }

    def of_bytes(self, values: Tensor) -> Tensor:
        """Normalised images, float32 [B, 3, H, W], of uint8 ones, on their device."""
        x = empty_batch(values.shape, values.device)
        for rows in slices(x):
            self.apply_(x[rows].copy_(values[rows]))
        return x

    def apply_(self, values: Tensor, out: Tensor | None = None) -> Tensor:
        """Normalise float32 [..., 3, H, W], into `out` or else in place."""
        scale, _, shift = self._on(values.device)
        return torch.mul(values, scale, out=values if out is None else out).sub_(shift)

    def undo_(self, x: Tensor) -> Tensor:
        """The 8-bit values that were normalised, as float32, in place; exact, because rounding ends far from halves."""
        _, spread, shift = self._on(x.device)
        return x.add_(shift).mul_(spread).round_()

    def _on(self, device: torch.device) -> tuple[Tensor, ...]:
        """Return scale, spread and shift, float32 [3, 1, 1], on a device."""
        if device not in self._factors:
            self._factors[device] = tuple(sent(factor, device) for factor in self._factors[torch.device("cpu")])
        return self._factors[device]


def slices(x: Tensor) -> Iterator[slice]:
    """Rows of a batch to be worked on together. They depend on it alone, as the last bits of sums might on them."""
    rows = len(x)
    if x.device.type == "cpu" and rows:
        rows = max(1, SLICE_BYTES // (x[0].numel() * x.element_size()))
    for start in range(0, len(x), max(1, rows)):
        yield slice(start, start + rows)
