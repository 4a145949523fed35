"""OCDM: rows are deleted one by one so that the classes of the memory follow a target distribution.

Liang, Li: "Optimizing Class Distribution in Memory for Multi-Label Online Continual Learning", arXiv 2209.11469 (2022).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from clsim.randomness import raw_integers
from clsim.training.memory.offers import in_order

if TYPE_CHECKING:
    from clsim.training.memory.store import Memory

Floats = NDArray[np.float32]

ALIKE = 1e-13
"""Two distances that differ by less are equal: rounding breaks no tie and makes none."""
LAST = 1e9
"""In place of an infinite distance, where a deletion would leave no positive: such a row goes when all others have."""
LOOKED_AT = 1024
"""Label sets whose distances are computed for each deletion."""


class ClassDistribution:
    """Deletes, while there are too many rows, the one whose deletion leaves the positives closest to their targets.

    Targets are p_c = n_c^rho / sum n^rho, where n_c positives of class c were offered. The distance is KL(q || p) of
    the shares q of positives in the memory. n is saved with the memory.

    DECIDED: KL in this direction, which is finite when a class has no stored row. Only given positives count, soft and
    relabelled ones never. Of equally good rows the one with the smallest random key goes, so that rows of one label set
    are thinned at random. Rows without a positive leave the distance as it is, and go when every other deletion hurts.

    Args:
        rho: exponent of the targets: 0 uniform, 1 proportional to the stream. DECIDED: 0; the paper's value is unknown.
        batch: rows that come in before so many are deleted; 0: all that are offered, a whole task or a portion.
    """

    needs_features = False
    asks_network = False
    takes_batches = True

    def __init__(
        self,
        rho: Annotated[float, Field(description="exponent of the targets: 0 uniform, 1 as in the stream")] = 0.0,
        batch: Annotated[int, Field(ge=0, description="rows that come in at once; 0: all that are offered")] = 0,
    ) -> None:
        self.rho = rho
        self.batch = batch
        self.offered = np.zeros(0)

    def choose(self, memory: Memory, task: int, features: Floats | None = None) -> NDArray[np.int64]:
        positives = memory.positives
        if not len(self.offered):
            self.offered = np.zeros(positives.shape[1])
        most = memory.budget.of_all(memory.tasks[task].stop)
        keys = raw_integers(int(memory.rows.max()) + 1, memory.seed, "ocdm")[memory.rows]
        kept, order = np.arange(len(memory) - memory.offered), in_order(memory, task)
        size = self.batch or max(1, len(order))
        for start in range(0, len(order), size):
            portion = order[start : start + size]
            self.offered += positives[portion].sum(axis=0)
            kept = np.concatenate([kept, portion])
            kept = kept[thinned(positives[kept], self.offered, self.rho, most, keys[kept])]
        return kept

    def state_dict(self) -> dict[str, Any]:
        return {"offered": torch.from_numpy(self.offered.copy())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.offered = state["offered"].numpy().copy()


def thinned(
    positives: NDArray[np.bool_], offered: NDArray[np.float64], rho: float, most: int, keys: NDArray[Any]
) -> NDArray[np.int64]:
    """Return the positions that greedy deletion leaves, int64 [min(n, most)], ascending.

    Args:
        positives: bool [n, C], positives of each row.
        offered: float64 [C], positives offered so far, those of the stored rows among them.
        rho: exponent of the targets.
        most: rows that are left.
        keys: [n], of equally good rows the one with the smallest goes.
    """
    excess = len(positives) - most
    if excess <= 0:
        return np.arange(len(positives))
    shown = offered > 0
    targets = offered[shown] ** rho
    log_targets = np.zeros(len(offered))
    log_targets[shown] = np.log(targets / targets.sum())
    sets = _LabelSets(positives, log_targets, keys)
    left = np.ones(len(positives), dtype=np.bool_)
    for _ in range(excess):
        left[sets.delete(sets.best())] = False
    return np.flatnonzero(left)


class _LabelSets:
    """Rows by their sets of positives; rows of one set are equally good.

    Only some sets, those that were closest, are looked at for each deletion. With l stored positives of a class, the
    distance is made of the sum of f(l) - l log p with f(l) = l log l, which a row that goes lowers by the sum over its
    classes of f(l) - f(l - 1) - log p. These gains of classes only fall while rows are deleted. So the largest gain of
    the other sets with equally many positives, as it was, tells how close they could be by now, and as long as none
    could be closest they need no look.

    Args:
        positives: bool [n, C].
        log_targets: log p, float64 [C].
        keys: [n], of the rows of equally good sets the one with the smallest is deleted.
    """

    def __init__(self, positives: NDArray[np.bool_], log_targets: NDArray[np.float64], keys: NDArray[Any]) -> None:
        packed, which = np.unique(np.packbits(positives, axis=1), axis=0, return_inverse=True)
        which = which.reshape(-1)
        distinct = np.unpackbits(packed, axis=1, count=positives.shape[1]).astype(np.bool_)
        self.sizes = distinct.sum(axis=1)
        order = np.lexsort((keys, which))
        members = np.split(order, np.cumsum(np.bincount(which))[:-1])
        self.members = [rows[::-1].tolist() for rows in members]  # the smallest key last
        self.keys = keys
        self.next_key = np.array([keys[rows[-1]] for rows in self.members])
        self.there = np.ones(len(distinct), dtype=np.bool_)
        columns = np.full((len(distinct), int(self.sizes.max(initial=0))), positives.shape[1], dtype=np.int32)
        columns[np.arange(columns.shape[1]) < self.sizes[:, None]] = np.nonzero(distinct)[1]
        self.columns = np.ascontiguousarray(columns.T)  # [positives of a set, sets]: sums over long rows are fast
        self.counts = positives.sum(axis=0)
        self.log_targets = log_targets
        self.gains = np.zeros(len(log_targets) + 1)  # the last one pads `columns`
        self.gains[:-1] = _f(self.counts) - _f(np.maximum(self.counts - 1, 0)) - log_targets
        self.total = float((_f(self.counts) - self.counts * log_targets).sum())
        self.positives = int(self.counts.sum())
        self._look_at_all()

    def best(self) -> int:
        """Return the set whose next row is the best to delete."""
        distances = self._distances(self.looked_at, self.looked_columns, self.looked_sizes)
        alike = distances.min() + ALIKE
        if self._closest_other() <= alike:
            self._look_at_all()
            distances = self._distances(self.looked_at, self.looked_columns, self.looked_sizes)
            alike = distances.min() + ALIKE
        ties = self.looked_at[distances <= alike]
        return int(ties[self.next_key[ties].argmin()])

    def delete(self, number: int) -> int:
        """Delete the row of a set with the smallest key, and return it."""
        columns = self.columns[: self.sizes[number], number]
        self.total -= float(self.gains[columns].sum())
        self.counts[columns] -= 1
        self.positives -= len(columns)
        counts = self.counts[columns]
        self.gains[columns] = _f(counts) - _f(np.maximum(counts - 1, 0)) - self.log_targets[columns]
        row = int(self.members[number].pop())
        if self.members[number]:
            self.next_key[number] = self.keys[self.members[number][-1]]
        else:
            self.there[number] = False
        return row

    def _look_at_all(self) -> None:
        """Choose anew which sets are looked at, and bound what the others may gain by their numbers of positives."""
        everything = np.flatnonzero(self.there)
        columns = self.columns[:, everything]
        distances = self._distances(everything, columns, self.sizes[everything])
        close = distances <= distances.min() + ALIKE
        if len(everything) > LOOKED_AT:
            close[np.argpartition(distances, LOOKED_AT)[:LOOKED_AT]] = True
        else:
            close[:] = True
        self.looked_at, others = everything[close], everything[~close]
        self.looked_columns, self.looked_sizes = columns[:, close].astype(np.int64), self.sizes[self.looked_at]
        self.other_sizes = np.unique(self.sizes[others])
        largest = np.full(len(self.columns) + 1, -np.inf)
        np.maximum.at(largest, self.sizes[others], self.gains[columns[:, ~close]].sum(axis=0))
        self.other_gains = largest[self.other_sizes]

    def _distances(
        self, numbers: NDArray[np.int64], columns: NDArray[Any], sizes: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return the distance without a row of each set, infinite for sets that have no row left, float64 [n].

        Args:
            numbers: of the sets, int64 [n].
            columns: theirs, integers [positives of a set, n].
            sizes: theirs, int64 [n].
        """
        return np.where(self.there[numbers], self._distance(self.gains.take(columns).sum(axis=0), sizes), np.inf)

    def _closest_other(self) -> float:
        """Return how close a set that is not looked at could be."""
        return float(self._distance(self.other_gains, self.other_sizes).min(initial=np.inf))

    def _distance(self, gains: NDArray[np.float64], sizes: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the distances without rows of `sizes` positives. DECIDED: `LAST` where no positive would be left."""
        left = np.maximum(self.positives - np.arange(len(self.columns) + 1), 1)  # by size, of which there are few
        distances = (self.total - gains) / left.take(sizes) - np.log(left).take(sizes)
        return np.where(sizes < self.positives, distances, LAST)


def _f(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return l log l, 0 for 0."""
    return counts.astype(np.float64) * np.log(np.maximum(counts, 1))
