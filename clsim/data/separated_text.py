"""Tables as text with a delimiter between cells: CSV, TSV and what spreadsheets and scripts make of them."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Literal

from clsim.data.table_form import BadTable, Row, Table, pick, refuse_twins

Mark = str | Literal[False] | None
"""What comments begin with; False: there are none; None: `#`, where the line cannot be a row."""

_DELIMITERS = ",;\t|"
_SEP_LINE = re.compile(r"\ufeff?sep=([^\s\w]|\t)", re.IGNORECASE)


def separated_table(
    file: Path, text: Iterable[str], only: Sequence[str] | None, delimiter: str | None, usual: str, comment: Mark
) -> Table:
    """Return the table in a text.

    Args:
        file: for messages.
        text: lines of it.
        only: read these columns, in this order; None: all.
        delimiter: between cells; None: what a first line `sep=;` says, or else `usual`.
        comment: see `Mark`.

    Raises:
        BadTable: at once, or while rows are read.
    """
    lines_of_text = iter(text)
    first = next(lines_of_text, "")
    named = _SEP_LINE.fullmatch(first.strip("\r\n"))
    if named is not None and delimiter not in (None, named[1]):
        raise BadTable(f"{file}:1: the delimiter is {named[1]!r} by this line, and {delimiter!r} as given")
    if "\0" in first:
        which = "utf-16-be" if first.startswith("\0") else "utf-16-le"
        raise BadTable(f"{file}:1: zero bytes in the text; is its encoding {which}?")
    delimiter = delimiter or (named[1] if named else usual)
    # the line stays as an empty one, so that the numbers of the others are those of the file
    source = _Lines(file, chain(["\n" if named else first], lines_of_text), delimiter, comment)
    lines = source.rows()
    line, header = next(lines, (1, []))
    source.width = len(header)
    columns = tuple(name.strip() for name in header)
    while len(columns) > 1 and columns[-1] == "":
        columns = columns[:-1]
    if not columns:
        raise BadTable(f"{file}: empty; the first line names the columns")
    where = f"{file}:{line}"
    if only is None and "" in columns:
        position = columns.index("") + 1
        raise BadTable(f"{where}: column {position} has no name (an index written by pandas? use index=False)")
    refuse_twins(where, columns)
    others = [other for other in _DELIMITERS if len(columns) == 1 and other in columns[0]]
    width, start = len(columns), f"{file}:"
    chosen = _picker(pick(where, columns, only, f"; is the delimiter {others[0]!r}?" if others else ""))

    def rows() -> Iterator[Row]:
        for line, cells in lines:
            if len(cells) != width and (len(cells) < width or any(map(str.strip, cells[width:]))):
                text = f"{len(cells)} cells under {width} columns; cells with {delimiter!r} in them need quotes"
                raise BadTable(f"{start}{line}: {text}")
            if not any(cells) or cells == header:
                continue
            kept = cells if len(cells) == width else cells[:width]
            yield Row(start, line, kept if only is None else chosen(kept))

    return Table(columns if only is None else tuple(only), rows())


def _picker(positions: list[int]) -> Callable[[Sequence[str]], Sequence[str]]:
    """Return what takes the cells at some positions out of a row."""
    return itemgetter(*positions) if len(positions) > 1 else lambda cells: [cells[at] for at in positions]


class _Lines:
    """The lines of a text as rows.

    Attributes:
        width: cells of the header, once it is known.
    """

    def __init__(self, file: Path, text: Iterable[str], delimiter: str, comment: Mark) -> None:
        self.file = file
        self.width = 0
        self._blank = delimiter == " "
        self._delimiter = delimiter
        self._sure = comment is not None
        self._mark = "#" if comment is None else comment or None
        self._above: list[tuple[int, int]] = []  # comments above the header: line and number of cells
        self._between_rows = True
        self._reader = csv.reader(
            self._without_comments(text), delimiter=delimiter, skipinitialspace=not self._blank, strict=True
        )

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield rows that are not empty, and the line each begins in; a quoted cell may span lines."""
        reader, first = self._reader, 1
        try:
            for cells in reader:
                if self._blank:
                    cells = [cell for cell in cells if cell]
                if cells and cells != [""]:
                    if not self.width:
                        self._refuse_rows_above(len(cells))
                    yield first, cells
                first = reader.line_num + 1
                self._between_rows = True
        except csv.Error as error:
            text = f"{self.file}:{first}: not valid CSV: {error}; is there a quote that is not closed?"
            raise BadTable(text) from None

    def _without_comments(self, text: Iterable[str]) -> Iterator[str]:
        """Yield lines; a comment becomes an empty line, so that numbers stay those of the file."""
        marks = (self._mark, f"\ufeff{self._mark}") if self._mark else ()
        for number, line in enumerate(text, start=1):
            if self._between_rows and line.startswith(marks):
                if not self._sure:
                    self._above.append((number, self._cells_of(line)))
                    if self.width:
                        self._refuse_rows_above(self.width)
                yield "\n"
            else:
                self._between_rows = False
                yield line

    def _cells_of(self, line: str) -> int:
        try:
            cells = next(csv.reader([line], delimiter=self._delimiter), [])
        except csv.Error:
            return 0
        return sum(map(bool, cells)) if self._blank else len(cells)

    def _refuse_rows_above(self, width: int) -> None:
        """Raise BadTable if a comment without a declared mark has as many cells as a row."""
        # DECIDED: refused, because it may be a row, as of a file '#1.jpg', or a row that somebody has struck out
        if rows := [number for number, cells in self._above if cells == width > 1]:
            text = f"{self.file}:{rows[0]}: begins with '#' and has {width} cells, as many as the header"
            raise BadTable(f"{text}; dataset.comment: '#' passes such lines over, false reads them as rows")
        self._above.clear()
