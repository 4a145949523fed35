"""How many images show each class, and which of the classes of an image the fewest show."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int8]
Ids = NDArray[np.int64]
ROWS_AT_A_TIME = 16384


def count_positives(labels: Labels, rows: Ids) -> Ids:
    """Return how many of the rows show each class, int64 [C]; a part of the rows at a time, to need no copy of all."""
    count = np.zeros(labels.shape[1], dtype=np.int64)
    for first in range(0, len(rows), ROWS_AT_A_TIME):
        count += (labels[rows[first : first + ROWS_AT_A_TIME]] == 1).sum(axis=0)
    return count


def rarest_class(labels: Labels) -> Ids:
    """Return the class of each image that the fewest images show, int64 [N], ties by column; -1 without a positive.

    Args:
        labels: int8 [N, C].
    """
    count = np.zeros(labels.shape[1], dtype=np.int64)
    for part in _parts(labels):
        count += (part == 1).sum(axis=0)
    rarest_first = np.argsort(count, kind="stable")
    rank = np.argsort(rarest_first, kind="stable")
    found = [np.where(part == 1, rank, len(rank)).min(axis=1, initial=len(rank)) for part in _parts(labels)]
    return np.append(rarest_first, -1)[np.concatenate([np.empty(0, dtype=np.int64), *found])]


def _parts(labels: Labels) -> Iterator[Labels]:
    """Yield the rows, as views, a part at a time."""
    for first in range(0, len(labels), ROWS_AT_A_TIME):
        yield labels[first : first + ROWS_AT_A_TIME]
