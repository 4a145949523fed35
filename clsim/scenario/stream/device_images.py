"""Images on their way to a GPU: all of them there from the beginning, or each batch through buffers."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clsim.data.image_stream import StreamedImages
from clsim.transfer import sent

Place = Literal["auto", "device", "host"]
Samples = NDArray[np.int64]

SHARE = 4
"""DECIDED: `auto` gives a fourth of a GPU's free memory to images: two splits, and more than one run may share it."""
ROWS_AT_ONCE = 1024
BUFFERS = 3
"""One is copied from, one is filled, and one is for rows that nobody has announced, such as a memory's."""


class DeviceImages(Protocol):
    """Images uint8 [N, 3, H, W], or features float32 [N, d], as batches on a device.

    Attributes:
        device: where batches are.
    """

    device: torch.device

    def take(self, samples: Samples) -> Tensor:
        """Return the images at int64 [B] positions, on the device."""
        ...

    def prefetch(self, samples: Samples) -> None:
        """Say which positions come next, so that work on them can begin; nothing else changes."""
        ...


def placed(images: Any, device: torch.device, place: Place) -> DeviceImages | None:
    """Return the images of a split for a device; None for a CPU.

    Args:
        images: array, memory map or `StreamedImages`.
        place: device: all are on it; host: each batch is sent; auto: all are on it if they lie in one array that takes
            at most a fourth of the memory that is free there.
    """
    if device.type == "cpu":
        return None
    if place == "auto":
        whole = not isinstance(images, StreamedImages) and images.nbytes <= _free_bytes(device) // SHARE
        place = "device" if whole else "host"
    return AllOnDevice(images, device) if place == "device" else ThroughBuffers(images, device)


def _free_bytes(device: torch.device) -> int:
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


class AllOnDevice:
    """All images on the device; a batch is gathered there, and only its positions are sent."""

    def __init__(self, images: Any, device: torch.device) -> None:
        self.device = device
        everything = np.arange(len(images))
        parts = [everything[start : start + ROWS_AT_ONCE] for start in range(0, len(images), ROWS_AT_ONCE)]
        self._images: Tensor | None = None
        for rows in parts:  # in parts, because the whole may not fit into the memory of the host
            part = torch.from_numpy(np.ascontiguousarray(images[rows]))
            if self._images is None:
                self._images = torch.empty((len(images), *part.shape[1:]), dtype=part.dtype, device=device)
            self._images[rows[0] : rows[-1] + 1].copy_(part)

    def take(self, samples: Samples) -> Tensor:
        assert self._images is not None
        return self._images.index_select(0, sent(torch.from_numpy(samples), self.device))

    def prefetch(self, samples: Samples) -> None:
        """Nothing to do."""


class ThroughBuffers:
    """Batches that are gathered into page-locked buffers by a thread, and copied while the device computes.

    On CUDA copies have a stream of their own. The device waits for a batch before it uses it; the host waits for a
    copy only before it fills the same buffer again.
    """

    def __init__(self, images: Any, device: torch.device) -> None:
        self.device = device
        self._images = images
        self._streamed = isinstance(images, StreamedImages)
        self._cuda = device.type == "cuda"
        self._buffers: list[Tensor | None] = [None] * BUFFERS
        self._copied: list[torch.cuda.Event | None] = [None] * BUFFERS
        self._last = 0
        self._coming: tuple[Samples, int, Future[Tensor]] | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._stream = torch.cuda.Stream(device) if self._cuda else None

    def take(self, samples: Samples) -> Tensor:
        if self._coming is not None and np.array_equal(self._coming[0], samples):
            _, number, future = self._coming
            self._coming = None
            return self._send(future.result(), number)
        number = self._next_buffer()
        return self._send(self._gather(samples, number), number)

    def prefetch(self, samples: Samples) -> None:
        if self._streamed:
            self._images.prefetch(samples)  # it has threads that decode
        elif self._coming is None and len(samples):
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, "clsim-images")
            number = self._next_buffer()
            self._coming = samples, number, self._thread.submit(self._gather, samples, number)

    def _next_buffer(self) -> int:
        busy = None if self._coming is None else self._coming[1]
        following = ((self._last + step) % BUFFERS for step in (1, 2))
        self._last = next(number for number in following if number != busy)
        return self._last

    def _gather(self, samples: Samples, number: int) -> Tensor:
        """Return images in a buffer, once what it held before has been copied."""
        if (event := self._copied[number]) is not None:
            event.synchronize()
        buffer = self._buffers[number]
        if buffer is None or len(buffer) < len(samples):
            kind = torch.from_numpy(np.empty(0, self._images.dtype)).dtype
            shape = (len(samples), *self._images.shape[1:])
            buffer = self._buffers[number] = torch.empty(shape, dtype=kind, pin_memory=self._cuda)
        batch = buffer[: len(samples)]
        if self._streamed:
            batch.numpy()[...] = self._images[samples]
        else:
            np.take(self._images, samples, axis=0, out=batch.numpy(), mode="clip")  # unlike raise without a copy
        return batch

    def _send(self, batch: Tensor, number: int) -> Tensor:
        if self._stream is None:
            return sent(batch, self.device)
        now = torch.cuda.current_stream(self.device)
        with torch.cuda.stream(self._stream):
            there = batch.to(self.device, non_blocking=True)
            self._copied[number] = self._stream.record_event()
        now.wait_stream(self._stream)
        there.record_stream(now)  # so that its memory is not given away while it is computed with
        return there
