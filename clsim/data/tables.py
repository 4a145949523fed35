"""Tables that people bring: CSV, TSV, JSON Lines and Parquet, row by row, with the place of each row in its file.

A table is never in memory as a whole. Problems of the file itself (encoding, quotes, ragged rows) are told with the
line; what the cells mean is the caller's business.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Literal

from clsim.data.separated_text import separated_table
from clsim.data.table_form import BadTable, Row, Table, pick, refuse_twins
from clsim.errors import did_you_mean
from clsim.opening import regular

SUFFIXES = {".csv": ",", ".tsv": "\t", ".jsonl": None, ".ndjson": None, ".parquet": None}
"""Suffixes that are read, with the delimiter of those that have one."""

_ROWS_AT_ONCE = 4096  # of a Parquet file
_PANDAS_INDEX = "__index_level_"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@contextmanager
def open_table(
    file: Path,
    only: Sequence[str] | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    comment: str | Literal[False] | None = None,
) -> Iterator[Table]:
    """Open a table; the suffix says which kind it is.

    In JSON Lines the first line names the columns; later ones may lack some. In CSV and TSV these are passed over: a
    first line `sep=;`, which names the delimiter, columns without name and content at the end, delimiters at the end of
    a row, rows of nothing but delimiters, comments, and the header where it is repeated. Where a blank is the
    delimiter, several count as one.

    Args:
        file: .csv, .tsv, .jsonl, .ndjson or .parquet.
        only: read these columns, in this order; None: all.
        delimiter: between the cells of a CSV file; default: what a first line `sep=;` says, a comma, a tab in .tsv.
        encoding: of the text, a name that Python knows; default: UTF-8, or UTF-16 where its byte order mark says so.
        comment: lines of a CSV file that begin so are passed over, False: none; default: those that begin with # and
            have another number of cells than the header; one that has as many is an error.

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
                yield separated_table(file, text, only, delimiter, SUFFIXES[suffix] or ",", comment)
    except OSError as error:
        raise BadTable(f"{file}: cannot be read: {error.strerror or error}") from None
    except UnicodeError as error:
        raise BadTable(_not_utf8(file) if encoding is None else f"{file}: not {encoding}: {error}") from None
    except LookupError:
        raise BadTable(
            f"{file}: encoding {encoding!r} is not known; allowed: utf-8, utf-16, latin-1, cp1252, gbk"
        ) from None


def _json_lines(file: Path, text: Iterable[str], only: Sequence[str] | None) -> Table:
    lines = _objects(file, text)
    first = next(lines, None)
    if first is None:
        raise BadTable(f"{file}: empty; each line is a JSON object")
    columns, start = tuple(first[1]), f"{file}:"
    pick(f"{start}{first[0]}", columns, only)
    kept = columns if only is None else tuple(only)
    known = set(columns)

    def rows() -> Iterator[Row]:
        for line, content in chain([first], lines):
            if only is None and not content.keys() <= known:
                new = next(key for key in content if key not in known)
                raise BadTable(
                    f"{start}{line}: key {new!r} is not in the first line{did_you_mean(new, columns)}; allowed: "
                    f"{', '.join(columns)}"
                )
            yield Row(start, line, [content.get(column) for column in kept])

    return Table(kept, rows())


def _objects(file: Path, text: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
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
        yield line, value


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
    refuse_twins(str(file), columns)
    pick(str(file), columns, only)
    kept = columns if only is None else tuple(only)

    def rows() -> Iterator[Row]:
        start, number = f"{file}: row ", 0
        try:
            for batch in opened.iter_batches(batch_size=_ROWS_AT_ONCE, columns=list(kept)):
                for cells in zip(*(batch.column(name).to_pylist() for name in kept), strict=True):
                    number += 1
                    yield Row(start, number, cells)
        except pyarrow.ArrowException as error:
            raise BadTable(f"{file}: not valid Parquet after row {number}: {error}") from None

    return Table(kept, rows())


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
