"""Rows of a stream: their images and visible targets by row id, and the Avalanche data set that fetches them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from avalanche.benchmarks.utils import AvalancheDataset
from avalanche.benchmarks.utils.data_attribute import DataAttribute
from avalanche.benchmarks.utils.flat_data import ConstantSequence
from avalanche.benchmarks.utils.utils import TaskSet
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import default_collate

from clsim.data.image_stream import StreamedImages
from clsim.data.source import ImageArray
from clsim.errors import RunError
from clsim.scenario.stream.device_images import DeviceImages, Place, placed
from clsim.scenario.stream.normalisation import Normalisation
from clsim.sealing import Sealed, asking_line
from clsim.transfer import sent
from clsim.vocabulary import UNKNOWN


class RowStore:
    """Images (or cached features) and visible targets by row id.

    Args:
        images: uint8 [N, 3, H, W]; or features float32 [N, d], or maps float16 [N, ...], handed out in float32; an
            array, a memory map, or `StreamedImages`.
        samples: int64 [R], image of each row.
        targets: int8 [R, C], what each row shows: 1, 0, -1; or float32, with soft labels in (0, 1).
        first_row: id of the first row.
        seen: show only the first `seen` columns of the targets.
        memory_targets: int8 [R, C], what a memory stores of each row; None: what the row shows.
        mean: images are (RGB in 0..1 - mean) / std; three numbers.
        std: three numbers.

    Attributes:
        on_device: the images on the device of the run; None: a CPU, or no run has placed them.
    """

    on_device: DeviceImages | None = None

    def __init__(
        self,
        images: ImageArray | NDArray[np.floating[Any]],
        samples: NDArray[np.int64],
        targets: NDArray[np.int8] | NDArray[np.float32],
        first_row: int,
        seen: int | None = None,
        memory_targets: NDArray[np.int8] | None = None,
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.5, 0.5, 0.5),
    ) -> None:
        self._images = images
        self._samples = samples
        self._targets = targets
        self._first_row = first_row
        self._seen = targets.shape[1] if seen is None else seen
        self._memory_targets = targets if memory_targets is None else memory_targets
        self._normalisation = Normalisation(mean, std)
        self._end = first_row + len(samples)
        self._coming: NDArray[np.bool_] | None = None

    def open_until(self, end: int) -> None:
        """Close the rows from id `end` on: they belong to tasks that have not begun.

        Args:
            end: one more than the last id that may be asked for.
        """
        self._end = end

    def hold_back(self, rows: NDArray[np.int64]) -> None:
        """Close row ids of an online stream until they come."""
        self._coming = np.zeros(len(self._samples), dtype=bool)
        self._coming[rows - self._first_row] = True

    def let_in(self, rows: NDArray[np.int64]) -> None:
        """Open row ids that come."""
        if self._coming is not None:
            self._coming[rows - self._first_row] = False

    def release(self) -> None:
        """Open all rows that `hold_back` has closed, as their task is over."""
        self._coming = None

    def _places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where row ids are in the store.

        Raises:
            Sealed: a row is closed.
        """
        if self._coming is not None and (closed := self._coming[rows - self._first_row]).any():
            raise Sealed(f"{asking_line()}row {rows[closed][0]} has not come yet: stream.online has each row once")
        if len(rows) and (last := int(rows.max())) >= self._end:
            raise Sealed(
                f"{asking_line()}row {last} belongs to a task that has not begun; rows 0 to {self._end - 1} have"
            )
        return rows - self._first_row

    @property
    def image_bytes(self) -> int:
        """Bytes of one stored image, or of its features: what a memory that keeps it has to hold."""
        return int(np.prod(self._images.shape[1:])) * self._images.itemsize

    def images(self, rows: NDArray[np.int64], device: torch.device | None = None) -> Tensor:
        """Images of row ids, float32 [B, 3, H, W]: RGB, normalised; -1..1 with the default mean and std.

        Of a store of features those, float32 [B, d].

        Args:
            device: where they are wanted and normalised, after a quarter of their bytes has been sent there; None: on
                the CPU.
        """
        stored = self.stored(rows) if device is None else sent(self.fetched(rows), device)
        return stored if stored.dtype == torch.float32 else self._normalisation.of_bytes(stored)

    def stored(self, rows: NDArray[np.int64]) -> Tensor:
        """Images of row ids as they are stored, uint8 [B, 3, H, W], or features or maps, float32 [B, ...]."""
        return _widened(torch.from_numpy(self._images[self._samples[self._places(rows)]]))

    def place(self, device: torch.device, place: Place) -> None:
        """Have the images come to the device of a run; see `clsim.scenario.stream.device_images.placed`."""
        self.on_device = placed(self._images, device, place)

    def fetched(self, rows: NDArray[np.int64]) -> Tensor:
        """Images of row ids as `stored` gives them, on the device of the run if they have been placed there."""
        if self.on_device is None:
            return self.stored(rows)
        return _widened(self.on_device.take(self._samples[self._places(rows)]))

    def prefetch(self, rows: NDArray[np.int64]) -> None:
        """Say which row ids come next, so that images that are decoded or sent as they are needed can be begun."""
        places = rows - self._first_row  # of closed rows, too: nothing comes back
        if self.on_device is not None:
            self.on_device.prefetch(self._samples[places])
        elif isinstance(self._images, StreamedImages):
            self._images.prefetch(self._samples[places])

    def targets(self, rows: NDArray[np.int64]) -> Tensor:
        """Targets of row ids, float32 [B, C]: 1 present, 0 absent, (0, 1) soft, -1 unknown."""
        shown = torch.from_numpy(self._targets[self._places(rows)]).float()
        shown[:, self._seen :] = UNKNOWN
        return shown

    def memory_targets(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """What a replay memory stores of row ids, float32 [B, C]: as `targets`, unless the plan says otherwise."""
        return self._memory_targets[self._places(rows)].astype(np.float32)


def _widened(x: Tensor) -> Tensor:
    """Return maps in float32, all else as it is."""
    return x.float() if x.dtype == torch.float16 else x


class FetchedRows(Sequence[tuple[Tensor, Tensor, int]]):
    """A fetched batch that reads like a list of samples, for collate functions that know nothing better."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.batch = [x, y, torch.zeros(len(x), dtype=torch.long)]

    def __len__(self) -> int:
        return len(self.batch[0])

    def __getitem__(self, position: Any) -> Any:
        x, y, task = self.batch
        return x[position], y[position], int(task[position])


def collate_rows(samples: Any) -> Any:
    """Batch `[x, y, task_label]` from fetched rows, without a copy, or from single samples."""
    return samples.batch if isinstance(samples, FetchedRows) else default_collate(samples)


class _Samples:
    """The per-sample view that stock Avalanche data sets index: (x float32 [3, H, W], y float32 [C])."""

    def __init__(self, store: RowStore, rows: NDArray[np.int64]) -> None:
        self.store = store
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        row = self.rows[[position]]
        return self.store.images(row)[0], self.store.targets(row)[0]


class MultiLabelDataset(AvalancheDataset):
    """An Avalanche data set of rows that can be fetched a batch at a time.

    Items are (x, y, task label 0), as stock Avalanche expects; `rows` has their row ids. Subsets and concatenations of
    one store keep the batched fetch; mixed with other data, or under a transform, the set falls back to Avalanche's
    item by item access.
    """

    def __init__(self, datasets: Any, *, store: RowStore | None = None, **kwargs: Any) -> None:
        super().__init__(datasets, **kwargs)
        parts = datasets if isinstance(datasets, Sequence) else [datasets]
        stores = {part.store if isinstance(part, MultiLabelDataset) else None for part in parts if len(part)}
        self.store: RowStore | None = store or (stores.pop() if len(stores) == 1 else None)
        self._row_ids: NDArray[np.int64] | None = None

    @classmethod
    def from_rows(cls, store: RowStore, rows: NDArray[np.int64]) -> MultiLabelDataset:
        """The data set of `rows`, int64 [n], of a store."""
        attributes = [
            DataAttribute(rows.tolist(), "row_ids"),
            DataAttribute(ConstantSequence(0, len(rows)), "targets_task_labels", use_in_getitem=True),
        ]
        samples: Any = _Samples(store, rows)
        made = cls([samples], store=store, data_attributes=attributes, collate_fn=collate_rows)
        made._row_ids = rows
        return made

    def replace_current_transform_group(self, transform: Any) -> MultiLabelDataset:
        """The data set under a transform of single items, which a batched fetch would skip."""
        changed: MultiLabelDataset = super().replace_current_transform_group(transform)
        changed.store = None
        return changed

    def rows(self) -> NDArray[np.int64]:
        """Row ids in order, int64 [n]."""
        if self._row_ids is None:
            attribute: Iterable[int] = self._data_attributes["row_ids"]
            self._row_ids = np.fromiter(attribute, dtype=np.int64, count=len(self))
        return self._row_ids

    def rows_at(self, positions: NDArray[np.int64]) -> Tensor | None:
        """Return the row ids at `positions`, int64 [B]; None if the set holds other data, which has no row ids."""
        return torch.from_numpy(self.rows()[positions]) if "row_ids" in self._data_attributes else None

    @property
    def task_set(self) -> TaskSet[MultiLabelDataset]:
        """Subsets by task label, as some stock plugins ask for them. All rows have task label 0."""
        return TaskSet(self)

    @property
    def targets(self) -> Any:
        """Refuse: stock Avalanche takes `targets` for one class number per sample.

        DECIDED: no AttributeError, which `ClassBalancedBuffer` turns into a bare AssertionError. So `hasattr` raises,
        and with it Avalanche's `benchmark_with_validation_stream`.

        Raises:
            RunError: always.
        """
        raise RunError(
            ".targets: samples of a multi-label stream have no single class, and a row of labels must not be taken for "
            "one; y of a batch has the labels, experience.classes_in_this_experience the classes"
        )

    def __getitems__(self, positions: Sequence[int] | NDArray[np.int64]) -> Sequence[Any]:
        """The batch at `positions`; see `FetchedRows`."""
        if self.store is None:
            return [self[int(position)] for position in positions]
        rows = self.rows()[np.asarray(positions, dtype=np.int64)]
        return FetchedRows(self.store.images(rows), self.store.targets(rows))

    def stored(self, positions: NDArray[np.int64]) -> list[Tensor]:
        """The batch at `positions`, `[x, y, task_label]`, with x as it is stored, 8-bit images or features.

        x is on the device of the run if the images have been placed there.

        A set that falls back to item by item access gives normalised images.
        """
        if self.store is None:
            batch: list[Tensor] = collate_rows(self.__getitems__(positions))
            return batch
        rows = self.rows()[positions]
        return FetchedRows(self.store.fetched(rows), self.store.targets(rows)).batch

    def prefetch(self, positions: NDArray[np.int64]) -> None:
        """Say which positions the next `__getitems__` will ask for; that one is then faster, nothing else changes."""
        if self.store is not None:
            self.store.prefetch(self.rows()[positions])
