"""Tables that people bring: CSV, TSV, JSON Lines and Parquet, row by row, with the place of each row in its file.

A table is never in memory as a whole. Problems of the file itself (encoding, quotes, ragged rows) are told with the
line; what the cells mean is the caller's business.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from clsim.errors import ClsimError, did_you_mean
from clsim.opening import regular

SUFFIXES = {".csv": ",", ".tsv": "\t", ".jsonl": None, ".ndjson": None, ".parquet": None}
"""Suffixes that are read, with the delimiter of those that have one."""

_ROWS_AT_ONCE = 4096  # of a Parquet file
_PANDAS_INDEX = "__index_level_"
_DELIMITERS = ",;\t|"
_SEP_LINE = re.compile(r"\ufeff?sep=([^\s\w]|\t)", re.IGNORECASE)
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class BadTable(ClsimError):
    """A table that cannot be read, or without a column that is needed; file and line are in the text."""


class Row(NamedTuple):
    """One row: where it stands ("photos.csv:17", "photos.parquet: row 17") and its cells in the table's columns.

    Cells are text in CSV and TSV, otherwise what the file holds; None = not given.
    """

    where: str
    cells: Sequence[Any]


class Table(NamedTuple):
    """Columns and the rows below them; rows can be walked through once, while the table is open."""

    columns: tuple[str, ...]
    rows: Iterator[Row]


@contextmanager
def open_table(
    file: Path, only: Sequence[str] | None = None, delimiter: str | None = None, encoding: str | None = None
) -> Iterator[Table]:
    """Open a table; the suffix says which kind it is.

    In JSON Lines the first line names the columns; later ones may lack some. In CSV and TSV these are passed over: a
    first line `sep=;`, which names the delimiter, columns without name and content at the end, rows of nothing but
    delimiters, and the header where it is repeated.

    Args:
        file: .csv, .tsv, .jsonl, .ndjson or .parquet.
        only: read these columns, in this order; None: all.
        delimiter: between the cells of a CSV file; default: what a first line `sep=;` says, a comma, a tab in .tsv.
        encoding: of the text, a name that Python knows; default: UTF-8, or UTF-16 where its byte order mark says so.

    Raises:
        BadTable: when opened, or while rows are read.
    """
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise BadTable(f"{file}: given a file with suffix {suffix!r}, allowed: {', '.join(SUFFIXES)}")
    try:
        if suffix == ".parquet":
            with open(file, "rb", opener=regular) as raw:
                yield _parquet(file, raw, only)
            return
        with open(file, encoding=encoding or _encoding(file), newline="", opener=regular) as text:
            if suffix in (".jsonl", ".ndjson"):
                yield _json_lines(file, text, only)
            else:
                yield _separated(file, text, only, delimiter, SUFFIXES[suffix] or ",")
    except OSError as error:
        raise BadTable(f"{file}: cannot be read: {error.strerror or error}") from None
    except UnicodeError as error:
        raise BadTable(_not_utf8(file) if encoding is None else f"{file}: not {encoding}: {error}") from None
    except LookupError:
        raise BadTable(
            f"{file}: encoding {encoding!r} is not known; allowed: utf-8, utf-16, latin-1, cp1252, gbk"
        ) from None


def _separated(file: Path, text: Iterable[str], only: Sequence[str] | None, delimiter: str | None, usual: str) -> Table:
    lines_of_text = iter(text)
    first = next(lines_of_text, "")
    named = _SEP_LINE.fullmatch(first.strip("\r\n"))
    if named is not None and delimiter not in (None, named[1]):
        raise BadTable(f"{file}:1: the delimiter is {named[1]!r} by this line, and {delimiter!r} as given")
    delimiter = delimiter or (named[1] if named else usual)
    # the line stays as an empty one, so that the numbers of the others are those of the file
    reader = csv.reader(
        chain(["\n" if named else first], lines_of_text), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    lines = _csv_lines(file, reader)
    line, header = next(lines, (1, []))
    width = len(header)
    columns = tuple(name.strip() for name in header)
    while len(columns) > 1 and columns[-1] == "":
        columns = columns[:-1]
    if not columns:
        raise BadTable(f"{file}: empty; the first line names the columns")
    where = f"{file}:{line}"
    if only is None and "" in columns:
        position = columns.index("") + 1
        raise BadTable(f"{where}: column {position} has no name (an index written by pandas? use index=False)")
    _refuse_twins(where, columns)
    others = [other for other in _DELIMITERS if len(columns) == 1 and other in columns[0]]
    picked = _pick(where, columns, only, f"; is the delimiter {others[0]!r}?" if others else "")

    def rows() -> Iterator[Row]:
        for line, cells in lines:
            if len(cells) != width or (width > len(columns) and any(cell.strip() for cell in cells[len(columns) :])):
                raise BadTable(
                    f"{file}:{line}: {len(cells)} cells under {len(columns)} columns; cells with {delimiter!r} in them "
                    "need quotes"
                )
            if not any(cells) or cells == header:
                continue
            kept = cells if width == len(columns) else cells[: len(columns)]
            yield Row(f"{file}:{line}", kept if only is None else [cells[column] for column in picked])

    return Table(columns if only is None else tuple(only), rows())


def _csv_lines(file: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Non-empty rows of a csv.reader and the line each begins in; a quoted cell may span lines."""
    while True:
        first = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise BadTable(f"{file}:{first}: not valid CSV: {error}; is there a quote that is not closed?") from None
        if cells and cells != [""]:
            yield first, cells


def _json_lines(file: Path, text: Iterable[str], only: Sequence[str] | None) -> Table:
    lines = _objects(file, text)
    first = next(lines, None)
    if first is None:
        raise BadTable(f"{file}: empty; each line is a JSON object")
    columns = tuple(first[1])
    _pick(first[0], columns, only)
    kept = columns if only is None else tuple(only)
    known = set(columns)

    def rows() -> Iterator[Row]:
        for where, content in chain([first], lines):
            if only is None and not content.keys() <= known:
                new = next(key for key in content if key not in known)
                raise BadTable(
                    f"{where}: key {new!r} is not in the first line{did_you_mean(new, columns)}; allowed: "
                    f"{', '.join(columns)}"
                )
            yield Row(where, [content.get(column) for column in kept])

    return Table(kept, rows())


def _objects(file: Path, text: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for line, content in enumerate(text, start=1):
        if not content.strip():
            continue
        where = f"{file}:{line}"
        try:
            value = json.loads(content)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            raise BadTable(f"{where}: not valid JSON: {reason}; each line is one object") from None
        if not isinstance(value, dict):
            raise BadTable(f'{where}: each line is a JSON object such as {{"path": "a.jpg"}}, not {_kind(value)}')
        yield where, value


def _parquet(file: Path, raw: BinaryIO, only: Sequence[str] | None) -> Table:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise BadTable(f"{file}: Parquet needs pyarrow, which is not installed: pip install pyarrow") from None
    try:
        opened = parquet.ParquetFile(raw)
    except pyarrow.ArrowException as error:
        raise BadTable(f"{file}: not valid Parquet: {error}") from None
    columns = tuple(name for name in opened.schema_arrow.names if not name.startswith(_PANDAS_INDEX))
    _refuse_twins(str(file), columns)
    _pick(str(file), columns, only)
    kept = columns if only is None else tuple(only)

    def rows() -> Iterator[Row]:
        number = 0
        try:
            for batch in opened.iter_batches(batch_size=_ROWS_AT_ONCE, columns=list(kept)):
                for cells in zip(*(batch.column(name).to_pylist() for name in kept), strict=True):
                    number += 1
                    yield Row(f"{file}: row {number}", cells)
        except pyarrow.ArrowException as error:
            raise BadTable(f"{file}: not valid Parquet after row {number}: {error}") from None

    return Table(kept, rows())


def _refuse_twins(where: str, columns: Sequence[str]) -> None:
    for position, name in enumerate(columns):
        if name and name in columns[:position]:
            raise BadTable(f"{where}: there are two columns {name!r}")


def _pick(where: str, columns: Sequence[str], only: Sequence[str] | None, hint: str = "") -> list[int]:
    """Positions of the columns that are asked for."""
    for name in only or ():
        if name not in columns:
            there = ", ".join(columns)
            raise BadTable(f"{where}: no column {name!r}{did_you_mean(name, columns)}; columns: {there}{hint}")
    return [columns.index(name) for name in only or ()]


def _encoding(file: Path) -> str:
    with open(file, "rb", opener=regular) as raw:
        return "utf-16" if raw.read(2) in _UTF16 else "utf-8-sig"


def _not_utf8(file: Path) -> str:
    """Where the first bytes stand that are not UTF-8."""
    with open(file, "rb", opener=regular) as raw:
        for line, content in enumerate(raw, start=1):
            try:
                content.decode("utf-8")
            except UnicodeDecodeError as error:
                given = content[error.start : error.start + 1]
                where = f"{file}:{line}: byte {error.start + 1} of the line ({given!r})"
                return f"{where} is not UTF-8; another encoding must be named, such as cp1252 (Latin letters) or gbk"
    return f"{file}: the text is damaged, or not in the encoding that its first bytes say"


def _kind(value: Any) -> str:
    return {list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}.get(
        type(value), "null"
    )
