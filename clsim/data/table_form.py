"""What a table is, whatever file it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from clsim.errors import ClsimError, did_you_mean


class BadTable(ClsimError):
    """A table that cannot be read, or without a column that is needed; file and line are in the text."""


class Row(NamedTuple):
    """One row: the number of its line or row, and its cells in the table's columns.

    Cells are text in CSV and TSV, otherwise what the file holds; None = not given. Places are spelt only when they are
    asked for, because there may be a million rows.

    Attributes:
        start: what stands before the number in a place: "photos.csv:", "photos.parquet: row ".
        number: from 1.
        cells: one per column of the table.
    """

    start: str
    number: int
    cells: Sequence[Any]

    @property
    def where(self) -> str:
        """The place of the row: "photos.csv:17", "photos.parquet: row 17"."""
        return f"{self.start}{self.number}"


class Table(NamedTuple):
    """Columns and the rows below them; rows can be walked through once, while the table is open."""

    columns: tuple[str, ...]
    rows: Iterator[Row]


def refuse_twins(where: str, columns: Sequence[str]) -> None:
    """Raise BadTable if two columns have one name."""
    for position, name in enumerate(columns):
        if name and name in columns[:position]:
            raise BadTable(f"{where}: there are two columns {name!r}")


def pick(where: str, columns: Sequence[str], only: Sequence[str] | None, hint: str = "") -> list[int]:
    """Return the positions of the columns that are asked for; one that is not there is a BadTable."""
    for name in only or ():
        if name not in columns:
            there = ", ".join(columns)
            raise BadTable(f"{where}: no column {name!r}{did_you_mean(name, columns)}; columns: {there}{hint}")
    return [columns.index(name) for name in only or ()]
