"""Memory of large batches on a CPU: huge pages where Linux has them, used again once nobody keeps the batch."""

from __future__ import annotations

import mmap
import weakref
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import torch
from torch import Tensor

HUGE_PAGES = 4_000_000
"""From so many bytes on a batch lies in huge pages."""
_spare: deque[mmap.mmap] = deque(maxlen=2)
"""Memory of batches that nobody keeps; as many as take turns in a loop."""


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
