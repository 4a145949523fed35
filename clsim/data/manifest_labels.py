"""The two forms in which the tables of a manifest give labels: a column for each class, or one column of lists."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from clsim.data.class_names import alike, composed
from clsim.data.label_values import SOFT, NoFinding, is_soft
from clsim.data.manifest_config import ManifestConfig
from clsim.data.source import Split
from clsim.data.tables import BadTable, Table
from clsim.errors import Unplannable, did_you_mean
from clsim.vocabulary import UNKNOWN

MOST_PROBLEMS = 10
"""Problems of a table that are told at once."""

_UNKNOWN_BYTE = UNKNOWN & 0xFF  # a row's labels are kept as bytes, which are read as int8
_MINUS_ONE = (-1, "-1", "-1.0")
_CODES: dict[object, int] = {1: 1, 0: 0, None: _UNKNOWN_BYTE, "": _UNKNOWN_BYTE}  # True and 1.0 are the key 1
_CODES.update(dict.fromkeys(["1", "1.0", "true", "True", "TRUE", "yes", "Yes", "YES"], 1))
_CODES.update(dict.fromkeys(["0", "0.0", "false", "False", "FALSE", "no", "No", "NO"], 0))
_CODES.update(dict.fromkeys(["nan", "NaN", "NAN", "?", "null"], _UNKNOWN_BYTE))

_BRACKETS_AND_QUOTES = re.compile(
    "[][(){}<>\"`\u201c\u201d\u201e\xab\xbb]|(?<!\\w)['\u2018\u2019]|['\u2018\u2019](?!\\w)"
)
"""An apostrophe within a word is none of them."""


class Images(NamedTuple):
    """The images of a split as they are found: file, place in the table, and what the row says of the labels."""

    files: list[str]
    where: list[str]
    labels: list[Any]


class Coded(NamedTuple):
    """Labels of N images as in `label_values.read_codes`: codes int8 [N, C], values of its soft entries float32 [K]."""

    codes: NDArray[np.int8]
    soft: NDArray[np.float32]

    def of(self, rows: NDArray[np.int64]) -> Coded:
        """Those of some rows, int64 [n], ascending."""
        chosen = np.isin(np.nonzero(self.codes == SOFT)[0], rows)
        return Coded(np.ascontiguousarray(self.codes[rows]), self.soft[chosen])


class WrongRow(Exception):
    """What is wrong with a row, one text a problem."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = problems


def refuse(key: str, problems: Sequence[str]) -> None:
    """Raise Unplannable for `dataset.<key>` if there are problems; the first `MOST_PROBLEMS` are told."""
    if problems:
        more = ["and more"] if len(problems) > MOST_PROBLEMS else []
        raise Unplannable(("dataset", key), "\n".join([*problems[:MOST_PROBLEMS], *more]))


def no_finding_rule(no_finding: str | NoFinding) -> NoFinding:
    """Return what `dataset.no_finding` says, with its names in their composed form."""
    rule = NoFinding(name=no_finding) if isinstance(no_finding, str) else no_finding
    return NoFinding(name=composed(rule.name), beside=list(map(composed, rule.beside)))


class LabelForm(Protocol):
    """One of the two forms labels come in."""

    key: str
    """The option that names the form's columns."""

    def columns(self) -> list[str] | None:
        """Columns that hold labels; None: the table decides."""

    def reader(self, file: Path, table: Table) -> Callable[[Sequence[Any]], Any]:
        """What takes the labels out of the cells of a row, or raises WrongRow; BadTable when the columns do not do."""

    def class_names(self, images: dict[Split, Images]) -> list[str]:
        """The classes, alphabetical, when all tables are read."""

    def matrix(self, labels: Sequence[Any], names: Sequence[str]) -> Coded:
        """The codes of what `reader` took out of N rows."""


class _SoftRow(NamedTuple):
    """Codes of a row with soft labels, and their values."""

    codes: bytes
    soft: list[float]


class LabelColumns:
    """A column for each class: 1, 0 or nothing = unknown. A row's labels are one byte a class."""

    key = "label_columns"

    def __init__(self, config: ManifestConfig) -> None:
        self.rest = config.label_columns == "rest"
        self.names = sorted(config.label_columns) if isinstance(config.label_columns, list) else []
        self.not_classes = {config.path_column, config.column_of_split}
        self.left_out = config.other_columns
        self.soft = config.soft_labels is not None
        self.minus_one = config.code_of_minus_one
        self.codes = dict(_CODES)
        if self.minus_one is not None:
            self.codes.update(dict.fromkeys(_MINUS_ONE, self.minus_one % 256))

    def columns(self) -> list[str] | None:
        return None if self.rest else self.names

    def reader(self, file: Path, table: Table) -> Callable[[Sequence[Any]], bytes | _SoftRow]:
        if self.rest:
            self._take_other_columns(file, table)
        positions = [table.columns.index(name) for name in self.names]
        # One call for all cells of a row: there may be a million rows of eighty.
        pick = itemgetter(*positions) if len(positions) > 1 else lambda cells: (cells[positions[0]],)
        code = self.codes.__getitem__

        def labels_of(cells: Sequence[Any]) -> bytes | _SoftRow:
            try:
                return bytes(map(code, pick(cells)))
            except (KeyError, TypeError):
                return self._parse_row(pick(cells))

        return labels_of

    def class_names(self, images: dict[Split, Images]) -> list[str]:
        return self.names

    def matrix(self, labels: Sequence[bytes | _SoftRow], names: Sequence[str]) -> Coded:
        codes = b"".join(row.codes if isinstance(row, _SoftRow) else row for row in labels)
        soft = [value for row in labels if isinstance(row, _SoftRow) for value in row.soft]
        matrix = np.frombuffer(codes, dtype=np.int8).reshape(len(labels), len(names)).copy()
        return Coded(matrix, np.array(soft, dtype=np.float32))

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

    def _parse_row(self, cells: Sequence[Any]) -> bytes | _SoftRow:
        """The labels of a row with spaces, NaN, soft labels or something wrong in it."""
        found = [self._label(cell) for cell in cells]
        wrong = [position for position, label in enumerate(found) if label is None]
        if wrong:
            raise WrongRow(
                [f"column {self.names[at]!r}: given {cells[at]!r}, {self._allowed(cells[at])}" for at in wrong]
            )
        soft = [label for label in found if isinstance(label, float)]
        codes = bytes(SOFT % 256 if isinstance(label, float) else label or 0 for label in found)
        return _SoftRow(codes, soft) if soft else codes

    def _label(self, cell: Any) -> int | float | None:
        """Code of a cell as an unsigned byte, the value of a soft label as a float, or None if it is neither."""
        if isinstance(cell, float) and np.isnan(cell):
            return _UNKNOWN_BYTE
        cell = cell.strip() if isinstance(cell, str) else cell
        if cell is not None and not isinstance(cell, str | int | float):
            return None
        code = self.codes.get(cell)
        return _soft_value(cell) if code is None and self.soft else code

    def _allowed(self, cell: Any) -> str:
        allowed = "allowed: 1 present, 0 absent, empty unknown"
        if cell in _MINUS_ONE:  # DECIDED: refused, because taking it either way would be wrong for somebody
            meanings = "absent, unknown or {uncertain: positive | negative | {soft: 0.6}}"
            return f"{allowed}; -1 is absent in some files and unknown in others: dataset.minus_one says {meanings}"
        if _soft_value(cell) is not None:
            return f"{allowed}; soft labels need dataset.soft_labels: unknown or {{threshold: 0.5}}"
        if self.rest:
            return f"{allowed}; if the column is no class, name it in dataset.other_columns"
        return allowed


def _soft_value(cell: Any) -> float | None:
    """The number between 0 and 1 in a cell, or None."""
    try:
        value = float(cell)
    except (TypeError, ValueError, OverflowError):
        return None
    return value if is_soft(value) else None


class LabelLists:
    """One column that lists the classes an image shows. A row's labels are their names."""

    key = "label_list"

    def __init__(self, config: ManifestConfig) -> None:
        self.column = config.label_list or ""
        self.separator = config.separator
        self.empty = UNKNOWN if config.empty_list == "unknown" else 0
        nothing = () if config.no_finding is None else (no_finding_rule(config.no_finding).name,)
        self.always = frozenset(nothing)
        self.vocabulary = frozenset(map(composed, (*config.vocabulary, *nothing))) if config.vocabulary else frozenset()

    def columns(self) -> list[str]:
        return [self.column]

    def reader(self, file: Path, table: Table) -> Callable[[Sequence[Any]], tuple[str, ...]]:
        position = table.columns.index(self.column)

        def labels_of(cells: Sequence[Any]) -> tuple[str, ...]:
            cell = cells[position]
            names, problem = _names_in(cell, self.separator)
            problem = problem or next(filter(None, (self._problem(name, cell) for name in names)), "")
            if problem:
                raise WrongRow([f"column {self.column!r}: {problem}"])
            return names

        return labels_of

    def class_names(self, images: dict[Split, Images]) -> list[str]:
        if self.vocabulary:
            return sorted(self.vocabulary)
        first: dict[Split, dict[str, str]] = {"train": {}, "test": {}}
        for split, found in images.items():
            for names, where in zip(found.labels, found.where, strict=True):
                for name in names:
                    first[split].setdefault(name, where)
        problems = [
            *self._untrained_problems(first["train"], first["test"]),
            *self._spelling_problems({**first["test"], **first["train"]}),
        ]
        refuse(self.key, problems)
        return sorted(first["train"] | {name: "" for name in self.always & first["test"].keys()})

    def matrix(self, labels: Sequence[tuple[str, ...]], names: Sequence[str]) -> Coded:
        column = {name: position for position, name in enumerate(names)}
        lengths = np.array([len(shown) for shown in labels], dtype=np.int64)
        matrix = np.zeros((len(labels), len(names)), dtype=np.int8)
        matrix[np.repeat(np.arange(len(labels)), lengths), [column[name] for shown in labels for name in shown]] = 1
        matrix[lengths == 0] = self.empty
        return Coded(matrix, np.empty(0, dtype=np.float32))

    def _problem(self, name: str, cell: Any) -> str:
        if not name:
            return f"given {cell!r}, a list with an empty name"
        if self.vocabulary:
            if name in self.vocabulary:
                return ""
            return f"given {name!r}, which is not in dataset.vocabulary{did_you_mean(name, sorted(self.vocabulary))}"
        if not isinstance(cell, str) or cell.lstrip()[:1] == "[":  # a list by its form
            return ""
        if marks := _BRACKETS_AND_QUOTES.findall(name):
            allowed = f'allowed: a JSON list such as ["cat", "dog"], or names joined with {self.separator!r}'
            yes = f"if {marks[0]} belongs to a name, list the classes under dataset.vocabulary"
            return f"given {cell!r}, in which {name!r} would be a class; {allowed}; {yes}"
        if others := [other for other in ",;|\t" if other in name]:
            between = f"if {others[0]!r} stands between classes, set dataset.separator"
            return f"given {name!r} as one class; {between}; if not, list the classes under dataset.vocabulary"
        return ""

    def _untrained_problems(self, train: dict[str, str], test: dict[str, str]) -> Iterable[str]:
        for name in sorted(test.keys() - train.keys() - self.always):
            hint = f"{did_you_mean(name, train)}; dataset.vocabulary may list it"
            yield f"{test[name]}: column {self.column!r}: given {name!r}, which no training image shows{hint}"

    def _spelling_problems(self, where: dict[str, str]) -> Iterable[str]:
        for other, name in alike(sorted(where)):
            advice = "if these are two classes, list them under dataset.vocabulary"
            yield f"{where[name]}: column {self.column!r}: given {name!r}, elsewhere {other!r}; {advice}"


def _names_in(cell: Any, separator: str) -> tuple[tuple[str, ...], str]:
    """The names in the cell of a list, or what is wrong with it."""
    names = cell
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return (), ""
    if isinstance(cell, str) and not cell.lstrip().startswith("["):
        names = cell.split(separator)
    elif isinstance(cell, str):
        try:
            names = json.loads(cell)
        except (ValueError, RecursionError):  # also Python's ['cat', 'dog'], and NumPy's, which drops the commas
            return (), f'given {cell!r}, allowed: a JSON list such as ["cat", "dog"]'
    if not isinstance(names, list) or not all(type(name) in (str, int) for name in names):
        return (), f"given {cell!r}, allowed: a list of class names"
    return tuple(composed(str(name).strip()) for name in names), ""


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
