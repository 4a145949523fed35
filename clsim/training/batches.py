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
from clsim.training.ranks import Part, Ranks
from clsim.training.sampling import Membership, make_sampler, membership


class EpochLoader:
    """Shuffled mini-batches `[x, y, task_label]` of one task, with x as `MultiLabelDataset.stored` gives it.

    The order of an epoch is derived from (seed, task, epoch), so a start in the middle is only a position, and every
    strategy meets the same batches. A replay that concatenates enlarges the pool the order runs over: positions beyond
    the task's own rows are not fetched here but handed over in `beyond`.

    With another `sampler` than shuffled the task's own rows are drawn by that rule, as many as there are. DECIDED: rows
    beyond them still come once each; what a memory holds of each class is for its selection to say.

    A last row that would be alone joins the batch before it: batch norm over 1 x 1 maps cannot train on one row.

    Of several ranks each yields its part of every batch.

    Attributes:
        rows: int64 [B], row ids of the batch last yielded; None if the data set has none.
        beyond: int64 [m], for the batch last yielded, positions in the enlarged part of the pool, from 0.
        part: which of the task's own rows in the whole batch these are.
        new_rows: int64 [b], row ids of the task's own rows in the whole batch, over all ranks; None as of `rows`.
        part_beyond: which of the whole batch's rows beyond them `beyond` is.
    """

    def __init__(
        self,
        dataset: MultiLabelDataset,
        batch_size: int,
        seed: int,
        task: int,
        sampler: str | SamplerSection = "shuffled",
        ranks: Ranks | None = None,
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.seed = seed
        self.task = task
        self.sampler = make_sampler(sampler)
        self.ranks = ranks or Ranks()
        self.pool = len(dataset)
        self.epoch = 0
        self.first_step = 0
        self.rows: Tensor | None = None
        self.new_rows: NDArray[np.int64] | None = None
        self.beyond: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self.part = self.part_beyond = Part.all_of(0)

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
        self._let_in(self._own(order[: self.batch_size * self.first_step] if self.first_step < len(self) else order))
        batches = np.split(order, ends)[self.first_step : len(self)]
        for whole, following in zip(batches, [*batches[1:], order[:0]], strict=False):
            part = self.ranks.part(len(whole))
            positions, coming = whole[part.rows], following[self.ranks.part(len(following)).rows]
            self.part, self.part_beyond = self._parts(whole, part)
            if self.pool > len(self.dataset):
                own = positions < len(self.dataset)
                self.beyond, positions = positions[~own] - len(self.dataset), positions[own]
                coming = coming[coming < len(self.dataset)]
            self.rows = self.dataset.rows_at(positions)
            self.new_rows = self._let_in(self.rows if part.undivided else self._own(whole))
            batch = self.dataset.stored(positions)
            self.dataset.prefetch(coming)
            yield batch

    def _own(self, positions: NDArray[np.int64]) -> Tensor | None:
        """Return the ids of the task's own rows among positions of the pool, int64 [b]."""
        return self.dataset.rows_at(positions[positions < len(self.dataset)])

    def _let_in(self, rows: Tensor | None) -> NDArray[np.int64] | None:
        """Open rows in the store; return their ids, int64 [b]."""
        if rows is None:
            return None
        if self.dataset.store is not None:
            self.dataset.store.let_in(rows.numpy())
        return rows.numpy()

    def _parts(self, batch: NDArray[np.int64], part: Part) -> tuple[Part, Part]:
        """Return this rank's part of a batch's own rows, and of those beyond them, from that of all its rows."""
        self.ranks.divided = not part.undivided
        if self.pool == len(self.dataset):
            return part, Part.all_of(0)
        if part.undivided:
            new = int(np.count_nonzero(batch < len(self.dataset)))
            return Part.all_of(new), Part.all_of(len(batch) - new)
        own = np.cumsum(batch < len(self.dataset))
        before, until, whole = (int(own[n - 1]) if n else 0 for n in (part.start, part.stop, len(batch)))
        return Part(before, until, whole), Part(part.start - before, part.stop - until, len(batch) - whole)

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
    """Mini-batches `[x, y, task_label]` of a data set in its own order, with x as `MultiLabelDataset.stored` gives it;
    of several ranks each yields its turns.

    Attributes:
        rows: int64 [B], row ids of the batch last yielded; None if the data set has none.
    """

    def __init__(self, dataset: MultiLabelDataset, batch_size: int, ranks: Ranks | None = None) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.ranks = ranks or Ranks()
        self.rows: Tensor | None = None

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def _starts(self) -> range:
        return self.ranks.starts(len(self.dataset), self.batch_size)

    def __iter__(self) -> Iterator[list[Tensor]]:
        everything = np.arange(len(self.dataset))
        for start in self._starts:
            stop, following = start + self.batch_size, start + self._starts.step
            self.rows = self.dataset.rows_at(everything[start:stop])
            batch = self.dataset.stored(everything[start:stop])
            self.dataset.prefetch(everything[following : following + self.batch_size])
            yield batch
