"""Images decoded when they are asked for, for data whose decoded cache would not fit; the pixels are the cache's."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clsim.cores import usable_cores
from clsim.data.image_cache import Pixels, Resize, decode_row


class StreamedImages:
    """Stands in for the array uint8 [N, 3, size, size] of the image cache, and holds no pixels.

    What is said in advance by `prefetch` is decoded in the background. That changes when a file is read, never what an
    index gives.

    Args:
        files: of the N images.
        size: side in pixels.
        resize: how images become squares.
        blank: rows of images that are known to be bad; zeros take their place.
        workers: threads that decode; None: one a core.
        window: as in `to_rgb`.
    """

    dtype = np.dtype(np.uint8)
    itemsize = 1

    def __init__(
        self,
        files: Sequence[Path],
        size: int,
        resize: Resize = "squash",
        blank: Collection[int] = frozenset(),
        workers: int | None = None,
        window: list[float] | None = None,
    ) -> None:
        self.shape = (len(files), 3, size, size)
        self._files = files
        self._resize = resize
        self._blank = blank
        self._window = window
        self._workers = workers or usable_cores()
        self._pool: ThreadPoolExecutor | None = None
        self._process = -1
        self._coming: dict[int, Future[Pixels]] = {}

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, rows: NDArray[np.int64] | int) -> Pixels:
        """Images of rows 0..N-1: uint8 [B, 3, size, size] of int64 [B], or [3, size, size] of a number.

        Raises:
            ScenarioError: an image is missing or cannot be decoded; with its path.
            IndexError: there is no such row.
        """
        wanted = np.asarray(rows, dtype=np.int64)
        if wanted.size and not 0 <= wanted.min() <= wanted.max() < len(self):
            raise IndexError(f"rows are 0..{len(self) - 1}, given {wanted.min()}..{wanted.max()}")
        images = np.empty((wanted.size, *self.shape[1:]), dtype=np.uint8)
        decoded = self._submitted(wanted.ravel().tolist())
        for place, row in enumerate(wanted.ravel().tolist()):
            images[place] = decoded[row].result()
        return images.reshape(*wanted.shape, *self.shape[1:])

    def prefetch(self, rows: NDArray[np.int64]) -> None:
        """Begin to decode rows 0..N-1, int64 [B], that will be asked for next; those of an earlier call are dropped."""
        coming = self._submitted(rows.tolist())
        for dropped in self._coming.values():
            dropped.cancel()
        self._coming = coming

    def _submitted(self, rows: Sequence[int]) -> dict[int, Future[Pixels]]:
        """Each different row on its way; what was on its way before is taken over."""
        pool = self._threads()
        return {
            row: self._coming.pop(row) if row in self._coming else pool.submit(self._decode, row)
            for row in dict.fromkeys(rows)
        }

    def _decode(self, row: int) -> Pixels:
        return decode_row(self._files, row, self.shape[-1], self._resize, self._blank, self._window)

    def _threads(self) -> ThreadPoolExecutor:
        """The threads of this process: a forked one, such as a data loader's worker, inherits none that run."""
        if self._pool is None or self._process != os.getpid():
            self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="clsim-decode")
            self._process = os.getpid()
            self._coming = {}
        return self._pool

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_pool": None, "_process": -1, "_coming": {}}
