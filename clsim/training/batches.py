"""The order in which a task's rows become mini-batches."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from clsim.errors import RunError
from clsim.randomness import permutation
from clsim.scenario.stream.rows import MultiLabelDataset
from clsim.scenario.training_schema import SamplerSection
from clsim.training.sampling import Membership, make_sampler, membership


class EpochLoader:
    """Shuffled mini-batches `[x, y, task_label]` of one task, with x as `MultiLabelDataset.stored` gives it.

    The order of an epoch is derived from (seed, task, epoch), so a start in the middle is only a position, and every
    strategy meets the same batches. A replay that concatenates enlarges the pool the order runs over: positions beyond
    the task's own rows are not fetched here but handed over in `beyond`.

    With another `sampler` than shuffled the task's own rows are drawn by that rule, as many as there are. DECIDED: rows
    beyond them still come once each; what a memory holds of each class is for its selection to say.

    A last row that would be alone joins the batch before it: batch norm over 1 x 1 maps cannot train on one row.

    Attributes:
        rows: int64 [B], row ids of the batch last yielded; None if the data set has none.
        beyond: int64 [m], for the batch last yielded, positions in the enlarged part of the pool, from 0.
    """

    def __init__(
        self,
        dataset: MultiLabelDataset,
        batch_size: int,
        seed: int,
        task: int,
        sampler: str | SamplerSection = "shuffled",
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.seed = seed
        self.task = task
        self.sampler = make_sampler(sampler)
        self.pool = len(dataset)
        self.epoch = 0
        self.first_step = 0
        self.rows: Tensor | None = None
        self.beyond: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def enlarge(self, n: int) -> None:
        """Let each epoch also run over `n` rows that are not in the data set."""
        self.pool += n

    def start(self, epoch: int, first_step: int) -> None:
        """Set where the next iteration begins."""
        self.epoch = epoch
        self.first_step = first_step

    def __len__(self) -> int:
        """Steps of a whole epoch."""
        full, rest = divmod(self.pool, self.batch_size)
        return full + (rest > min(full, 1))

    def __iter__(self) -> Iterator[list[Tensor]]:
        order = self._order()
        ends = self.batch_size * np.arange(1, len(self))
        batches = np.split(order, ends)[self.first_step : len(self)]
        for positions, coming in zip(batches, [*batches[1:], order[:0]], strict=False):
            own = positions < len(self.dataset)
            self.beyond = positions[~own] - len(self.dataset)
            self.rows = self.dataset.rows_at(positions[own])
            batch = self.dataset.stored(positions[own])
            self.dataset.prefetch(coming[coming < len(self.dataset)])
            yield batch

    def _order(self) -> NDArray[np.int64]:
        """Positions of the current epoch in the pool, int64 [pool]."""
        order = permutation(self.pool, self.seed, "order", self.task, self.epoch)
        if self.sampler is not None:
            drawn = self.sampler(self._membership, self.seed, self.task, self.epoch)
            own = order < len(drawn)
            order[own] = drawn[order[own]]
        return order

    @cached_property
    def _membership(self) -> Membership:
        store = self.dataset.store
        if store is None:
            raise RunError(
                "training.sampler: only shuffled works without the task's own rows, which a plugin has replaced"
            )
        return membership(store.targets(self.dataset.rows()).numpy())


class EvaluationLoader:
    """Mini-batches `[x, y, task_label]` of a data set in its own order, with x as `MultiLabelDataset.stored` gives it.

    Attributes:
        rows: int64 [B], row ids of the batch last yielded; None if the data set has none.
    """

    def __init__(self, dataset: MultiLabelDataset, batch_size: int) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.rows: Tensor | None = None

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self) -> Iterator[list[Tensor]]:
        everything = np.arange(len(self.dataset))
        for start in range(0, len(everything), self.batch_size):
            stop = start + self.batch_size
            self.rows = self.dataset.rows_at(everything[start:stop])
            batch = self.dataset.stored(everything[start:stop])
            self.dataset.prefetch(everything[stop : stop + self.batch_size])
            yield batch
