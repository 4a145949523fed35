"""What a form of labels in the tables of a manifest is, and the one with a column for each class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from clsim.data.label_values import SOFT, is_soft
from clsim.data.manifest_config import ManifestConfig
from clsim.data.manifest_rows import CodedRows, Images, RowLabels, SoftRow
from clsim.data.source import Split
from clsim.data.table_form import BadTable, Table
from clsim.errors import did_you_mean
from clsim.vocabulary import UNKNOWN

_UNKNOWN_BYTE = UNKNOWN & 0xFF  # a row's labels are kept as bytes, which are read as int8
_MINUS_ONE = (-1, "-1", "-1.0")
_CODES: dict[object, int] = {1: 1, 0: 0, None: _UNKNOWN_BYTE, "": _UNKNOWN_BYTE}  # True and 1.0 are the key 1
_CODES.update(dict.fromkeys(["1", "1.0", "true", "True", "TRUE", "yes", "Yes", "YES"], 1))
_CODES.update(dict.fromkeys(["0", "0.0", "false", "False", "FALSE", "no", "No", "NO"], 0))
_CODES.update(dict.fromkeys(["nan", "NaN", "NAN", "?", "null"], _UNKNOWN_BYTE))


class Coded(NamedTuple):
    """Labels of N images as in `label_values.read_codes`: codes int8 [N, C], values of its soft entries float32 [K]."""

    codes: NDArray[np.int8]
    soft: NDArray[np.float32]

    def of(self, rows: NDArray[np.int64]) -> Coded:
        """Those of some rows, int64 [n], ascending."""
        chosen = np.isin(np.nonzero(self.codes == SOFT)[0], rows)
        return Coded(np.ascontiguousarray(self.codes[rows]), self.soft[chosen])


class WrongRow(Exception):
    """What is wrong with a row: a text per problem, or what returns it, see `Problems.add`."""

    def __init__(self, *problems: str | Callable[[], str]) -> None:
        self.problems = problems


class LabelForm(Protocol):
    """One of the forms labels come in."""

    key: str
    """The option that names the form's columns."""
    rows_add_up: bool
    """Whether an image may have several rows, whose labels add up."""

    def columns(self) -> list[str] | None:
        """Columns that hold labels; None: the table decides."""

    def reader(self, file: Path, table: Table) -> Callable[[Sequence[Any]], Any]:
        """What takes the labels out of the cells of a row, or raises WrongRow; BadTable when the columns do not do."""

    def rows(self) -> RowLabels:
        """Return what keeps the labels that `reader` takes out of the rows of a split."""

    def class_names(self, images: dict[Split, Images]) -> list[str]:
        """The classes, alphabetical, when all tables are read."""

    def matrix(self, labels: Any, names: Sequence[str]) -> Coded:
        """The codes of what `rows` has kept of N rows; it is of no use afterwards."""


class LabelColumns:
    """A column for each class: 1, 0 or nothing = unknown. A row's labels are one byte a class."""

    key = "label_columns"
    rows_add_up = False

    def __init__(self, config: ManifestConfig) -> None:
        self.rest = config.label_columns == "rest"
        self.names = sorted(config.label_columns) if isinstance(config.label_columns, list) else []
        self.not_classes = {config.path_column, config.column_of_split}
        self.left_out = config.other_columns
        self.soft = config.soft_labels is not None
        self.counts = config.counts == "present"
        self.minus_one = config.code_of_minus_one
        self.codes = dict(_CODES)
        if self.minus_one is not None:
            self.codes.update(dict.fromkeys(_MINUS_ONE, self.minus_one % 256))

    def columns(self) -> list[str] | None:
        return None if self.rest else self.names

    def reader(self, file: Path, table: Table) -> Callable[[Sequence[Any]], bytes | SoftRow]:
        if self.rest:
            self._take_other_columns(file, table)
        positions = [table.columns.index(name) for name in self.names]
        # One call for all cells of a row: there may be a million rows of eighty.
        pick = itemgetter(*positions) if len(positions) > 1 else lambda cells: (cells[positions[0]],)
        code = self.codes.__getitem__

        def labels_of(cells: Sequence[Any]) -> bytes | SoftRow:
            try:
                return bytes(map(code, pick(cells)))
            except (KeyError, TypeError):
                return self._parse_row(pick(cells))

        return labels_of

    def rows(self) -> CodedRows:
        return CodedRows()

    def class_names(self, images: dict[Split, Images]) -> list[str]:
        return self.names

    def matrix(self, labels: CodedRows, names: Sequence[str]) -> Coded:
        matrix = np.frombuffer(labels.codes, dtype=np.int8).reshape(labels.count, len(names))
        return Coded(matrix, np.array(list(chain(*labels.soft.values())), dtype=np.float32))

    def _take_other_columns(self, file: Path, table: Table) -> None:
        if unknown := [name for name in self.left_out if name not in table.columns]:
            hint = did_you_mean(unknown[0], table.columns)
            raise BadTable(f"{file}: dataset.other_columns: no column {unknown[0]!r}{hint}")
        names = sorted(set(table.columns) - self.not_classes - set(self.left_out))
        if not names:
            raise BadTable(f"{file}: no column is left to be a class; columns: {', '.join(table.columns)}")
        if self.names and names != self.names:
            lacking = [name for name in self.names if name not in names]
            extra = [f"{name!r}{did_you_mean(name, lacking)}" for name in names if name not in self.names]
            difference = f"missing {_quoted(lacking)}; not there {', '.join(extra) or 'none'}"
            raise BadTable(f"{file}: other classes than in the training table: {difference}")
        self.names = names

    def _parse_row(self, cells: Sequence[Any]) -> bytes | SoftRow:
        """The labels of a row with spaces, NaN, soft labels or something wrong in it."""
        found = [self._label(cell) for cell in cells]
        wrong = [position for position, label in enumerate(found) if label is None]
        if wrong:
            raise WrongRow(*(partial(self._wrong, self.names[at], cells[at]) for at in wrong))
        soft = [label for label in found if isinstance(label, float)]
        codes = bytes(SOFT % 256 if isinstance(label, float) else label or 0 for label in found)
        return SoftRow(codes, soft) if soft else codes

    def _label(self, cell: Any) -> int | float | None:
        """Code of a cell as an unsigned byte, the value of a soft label as a float, or None if it is neither."""
        if isinstance(cell, float) and np.isnan(cell):
            return _UNKNOWN_BYTE
        cell = cell.strip() if isinstance(cell, str) else cell
        if cell is not None and not isinstance(cell, str | int | float):
            return None
        code = self.codes.get(cell)
        if code is None and self.counts and _is_count(cell):
            return 1
        return _soft_value(cell) if code is None and self.soft else code

    def _wrong(self, name: str, cell: Any) -> str:
        return f"column {name!r}: given {cell!r}, {self._allowed(cell)}"

    def _allowed(self, cell: Any) -> str:
        allowed = "allowed: 1 present, 0 absent, empty unknown"
        if cell in _MINUS_ONE:  # DECIDED: refused, because taking it either way would be wrong for somebody
            meanings = "absent, unknown or {uncertain: positive | negative | {soft: 0.6}}"
            return f"{allowed}; -1 is absent in some files and unknown in others: dataset.minus_one says {meanings}"
        if _soft_value(cell) is not None:
            return f"{allowed}; soft labels need dataset.soft_labels: unknown or {{threshold: 0.5}}"
        others = "; if the column is no class, name it in dataset.other_columns" if self.rest else ""
        if _is_count(cell):
            return f"{allowed}; counts of objects need dataset.counts: present{others}"
        return allowed + others


def _is_count(cell: Any) -> bool:
    """Whether a cell holds a whole number above 1."""
    try:
        value = float(cell)
    except (TypeError, ValueError, OverflowError):
        return False
    return value > 1 and value.is_integer()


def _soft_value(cell: Any) -> float | None:
    """The number between 0 and 1 in a cell, or None."""
    try:
        value = float(cell)
    except (TypeError, ValueError, OverflowError):
        return None
    return value if is_soft(value) else None


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
