"""The rows of a manifest as they are read, kept compactly: there may be a million."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


class RowLabels(Protocol):
    """What the rows of a split say of the labels, in one of the forms labels come in."""

    def add(self, labels: Any) -> None:
        """Append the labels of the next row."""

    def of(self, row: int) -> Any:
        """Return the labels of a row as they were added."""


@dataclass
class Images:
    """The images of a split, in the order in which they are found; all are listed in one table.

    Attributes:
        labels: of each image.
        start: what stands before the number in the place of an image; see `table_form.Row`.
        numbers: of the line or row of each image.
    """

    labels: Any
    start: str = ""
    numbers: array[int] = field(default_factory=lambda: array("q"))

    def where(self, row: int) -> str:
        """Return the place of an image in its table."""
        return f"{self.start}{self.numbers[row]}"


class SoftRow(NamedTuple):
    """Codes of a row with soft labels, a byte each, and the values of its soft ones."""

    codes: bytes
    soft: list[float]


class CodedRows:
    """Rows of one byte per class, and the values of soft labels by row.

    Attributes:
        codes: of all rows, one row after the other.
        soft: values of the soft labels of those rows that have some.
    """

    def __init__(self) -> None:
        self.codes = bytearray()
        self.soft: dict[int, list[float]] = {}
        self.count = 0

    def add(self, labels: bytes | SoftRow) -> None:
        """Append the labels of the next row."""
        if isinstance(labels, SoftRow):
            self.soft[self.count] = labels.soft
            labels = labels.codes
        self.codes += labels
        self.count += 1

    def of(self, row: int) -> bytes | SoftRow:
        """Return the labels of a row as they were added."""
        width = len(self.codes) // self.count
        codes = bytes(self.codes[row * width : (row + 1) * width])
        return SoftRow(codes, self.soft[row]) if row in self.soft else codes


class ListedRows:
    """Rows of any number of classes, each class by its number."""

    def __init__(self) -> None:
        self._ids, self._ends = array("i"), array("q")
        self._joined_rows, self._joined_ids = array("q"), array("q")

    def add(self, ids: Sequence[int]) -> None:
        """Append the classes of the next row."""
        self._ids.extend(ids)
        self._ends.append(len(self._ids))

    def of(self, row: int) -> tuple[int, ...]:
        """Return the classes of a row as they were added."""
        return tuple(self._ids[self._ends[row - 1] if row else 0 : self._ends[row]])

    def join(self, row: int, ids: Sequence[int]) -> None:
        """Add classes to those of an earlier row."""
        self._joined_rows.extend([row] * len(ids))
        self._joined_ids.extend(ids)

    def __len__(self) -> int:
        return len(self._ends)

    def pairs(self) -> tuple[Ids, Ids]:
        """Return row and class of each entry, int64 [K] each, row by row; a pair may be there more than once."""
        ends = np.array(self._ends, dtype=np.int64)
        lengths: Ids = np.ediff1d(ends, to_begin=ends[:1])
        rows, ids = np.repeat(np.arange(len(self)), lengths), np.array(self._ids, dtype=np.int64)
        if not self._joined_rows:
            return rows, ids
        rows = np.concatenate([rows, np.array(self._joined_rows, dtype=np.int64)])
        order = np.argsort(rows, kind="stable")
        return rows[order], np.concatenate([ids, np.array(self._joined_ids, dtype=np.int64)])[order]
