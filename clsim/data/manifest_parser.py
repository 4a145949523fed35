"""What the tables of a manifest say, and what is wrong with them."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from clsim.data.class_names import alike, composed
from clsim.data.held_out import ShareOfTraining, split_rows
from clsim.data.label_cache import Arrays, pack_texts
from clsim.data.label_values import SOFT, NoFinding, is_soft, without_finding
from clsim.data.manifest_config import ManifestConfig
from clsim.data.source import Split
from clsim.data.tables import BadTable, Table, open_table
from clsim.errors import Unplannable, did_you_mean
from clsim.vocabulary import UNKNOWN

PARSER_VERSION = 3  # of the cached labels

_MOST_PROBLEMS = 10
_SPLITS: tuple[Split, ...] = ("train", "test")
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

Labels = NDArray[np.int8]
Places = dict[str, tuple[str, Split, Any]]
"""Image file -> where it is listed first, over all tables, with its split and its labels."""

log = logging.getLogger("clsim")


class TableOf(NamedTuple):
    """A table, the key that names it, and the split of all its rows; None: a column says which."""

    key: str
    file: Path
    split: Split | None


class Images(NamedTuple):
    """The images of a split as they are found: file, place in the table, and what the row says of the labels."""

    files: list[str]
    where: list[str]
    labels: list[Any]


class Coded(NamedTuple):
    """Labels of N images as in `label_values.read_codes`: codes int8 [N, C], values of its soft entries float32 [K]."""

    codes: Labels
    soft: NDArray[np.float32]

    def of(self, rows: NDArray[np.int64]) -> Coded:
        """Those of some rows, int64 [n], ascending."""
        chosen = np.isin(np.nonzero(self.codes == SOFT)[0], rows)
        return Coded(np.ascontiguousarray(self.codes[rows]), self.soft[chosen])


class _Wrong(Exception):
    """What is wrong with a row, one text a problem."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = problems


def tables_of(config: ManifestConfig) -> list[TableOf]:
    """The tables a configuration names, train before test."""
    if config.file is not None:
        return [TableOf("file", Path(os.path.abspath(config.file)), None)]
    named: dict[Split, str | None] = {"train": config.train_file, "test": config.test_file}
    return [TableOf(f"{split}_file", Path(os.path.abspath(file or "")), split) for split, file in named.items()]


def folder_of(config: ManifestConfig, table: TableOf) -> str:
    """Return where relative paths of a table start."""
    return str(table.file.parent) if config.image_folder is None else os.path.abspath(config.image_folder)


def parse_manifest(config: ManifestConfig) -> Arrays:
    """Read the tables of a manifest.

    Returns:
        `train` and `test`, int8 [N, C], codes as in `label_values.read_codes`, rows as in the tables and columns by
        class name; `train_soft` and `test_soft`, float32, their soft values; `class_names`, `train_files` and
        `test_files` (absolute), packed texts.

    Raises:
        Unplannable: the first problems, each with file, line, column, what was given and what is allowed.
    """
    kind: _LabelForm = _Lists(config) if config.label_list is not None else _Columns(config)
    images: dict[Split, Images] = {split: Images([], [], []) for split in _SPLITS}
    places: Places = {}
    for given in tables_of(config):
        try:
            _read(config, kind, given, images, places)
        except BadTable as error:
            raise Unplannable(("dataset", given.key), str(error)) from None
    names = kind.class_names(images)
    found = {split: kind.matrix(images[split].labels, names) for split in _SPLITS}
    if config.no_finding is not None:
        names, found = _without_finding(_rule(config.no_finding), kind, names, found, images)
    if isinstance(config.test, ShareOfTraining):
        rows = dict(zip(_SPLITS, split_rows(found["train"].codes, config.test), strict=True))
        found = {split: found["train"].of(rows[split]) for split in _SPLITS}
        files = images["train"].files
        of_split = {split: [files[row] for row in rows[split].tolist()] for split in _SPLITS}
    else:
        of_split = {split: images[split].files for split in _SPLITS}
    arrays: Arrays = {"class_names": pack_texts(names)}
    for split in _SPLITS:
        codes, soft = found[split]
        arrays |= {split: codes, f"{split}_soft": soft, f"{split}_files": pack_texts(of_split[split])}
    return arrays


def _rule(no_finding: str | NoFinding) -> NoFinding:
    rule = NoFinding(name=no_finding) if isinstance(no_finding, str) else no_finding
    return NoFinding(name=composed(rule.name), beside=list(map(composed, rule.beside)))


def _without_finding(
    rule: NoFinding, kind: _LabelForm, names: list[str], found: dict[Split, Coded], images: dict[Split, Images]
) -> tuple[list[str], dict[Split, Coded]]:
    """The classes and codes without "no finding"; a row that contradicts itself is an error with its place."""
    for name in (rule.name, *rule.beside):
        if name not in names:
            raise Unplannable(("dataset", "no_finding"), f"no label {name!r}{did_you_mean(name, names)}")
    problems, left = [], {}
    for split in _SPLITS:
        codes, soft = found[split]
        where = images[split].where
        others, kept, wrong = without_finding(codes, names, rule)
        for row in wrong[: _MOST_PROBLEMS + 1]:
            problems.append(f"{where[row]}: given {rule.name!r} and another class that is not absent")
        left[split] = Coded(others, soft)
    _refuse(kind.key, problems)
    return [names[position] for position in kept], left


def _read(
    config: ManifestConfig, kind: _LabelForm, given: TableOf, images: dict[Split, Images], places: Places
) -> None:
    """Add the images of one table; rows that repeat another one are joined, and counted in the log."""
    folder, problems, repeated = folder_of(config, given), [], 0
    others = [column for column in (config.path_column, None if given.split else config.column_of_split) if column]
    wanted = kind.columns()
    with open_table(given.file, wanted and [*others, *wanted], config.delimiter, config.encoding) as table:
        path_at, *split_at = (_position(given.file, table, column) for column in others)
        labels_of = kind.reader(given.file, table)
        split_of = _split_reader(config)
        for row in table.rows:
            try:
                split = split_of(row.cells[split_at[0]]) if split_at else given.split or "train"
                if split is None:
                    continue
                file = _image_file(config, folder, row.cells[path_at])
                labels = labels_of(row.cells)
                first, *meaning = places.setdefault(file, (row.where, split, labels))
                if first is not row.where and meaning == [split, labels]:
                    repeated += 1
                    continue
                if first is not row.where:
                    text = f"given {row.cells[path_at]!r} a second time, with other labels or split; first in {first}"
                    raise _Wrong([f"column {config.path_column!r}: {text}"])
            except _Wrong as wrong:
                problems += [f"{row.where}: {problem}" for problem in wrong.problems]
                if len(problems) > _MOST_PROBLEMS:
                    break
                continue
            for part, value in zip(images[split], (file, row.where, labels), strict=True):
                part.append(value)
    _refuse(given.key, problems)
    if repeated:
        log.warning("%s: %d rows repeat another one exactly, and are joined", given.file, repeated)
    for split in _SPLITS[:1] if config.shares else _SPLITS:
        if given.split in (split, None) and not images[split].files:
            names, column = ", ".join(_split_names(config)), config.column_of_split
            named = "" if given.split or column is None else f"; allowed in {column!r}: {names}"
            raise Unplannable(("dataset", given.key), f"{given.file}: no image of the {split} split{named}")


def _refuse(key: str, problems: Sequence[str]) -> None:
    if problems:
        more = ["and more"] if len(problems) > _MOST_PROBLEMS else []
        raise Unplannable(("dataset", key), "\n".join([*problems[:_MOST_PROBLEMS], *more]))


def _position(file: Path, table: Table, column: str) -> int:
    if column not in table.columns:
        hint = did_you_mean(column, table.columns)
        raise BadTable(f"{file}: no column {column!r}{hint}; columns: {', '.join(table.columns)}")
    return table.columns.index(column)


# --- splits and paths


def _split_names(config: ManifestConfig) -> dict[str, Split | None]:
    return {
        **dict.fromkeys(config.train_splits, "train"),
        **({} if config.shares else dict.fromkeys(config.test_splits, "test")),
        **dict.fromkeys(config.other_splits, None),
    }


def _split_reader(config: ManifestConfig) -> Callable[[Any], Split | None]:
    """What turns a cell of the split column into the split; None: to be left out."""
    names = _split_names(config)

    def split_of(cell: Any) -> Split | None:
        name = "" if cell is None else str(cell).strip()
        if name not in names:
            hint = did_you_mean(name, names) or "; dataset.other_splits names those to leave out"
            raise _Wrong([f"column {config.column_of_split!r}: given {name!r}, allowed: {', '.join(names)}{hint}"])
        return names[name]

    return split_of


def _image_file(config: ManifestConfig, folder: str, cell: Any) -> str:
    if config.suffix is not None and type(cell) is int:
        cell = str(cell)
    if problem := _path_problem(cell):
        raise _Wrong([f"column {config.path_column!r}: given {cell!r}, {problem}"])
    name = cell.strip()
    if "/" not in name and os.sep == "/":
        name = name.replace("\\", "/")  # written by Windows; between folders nothing else can be meant
    if config.suffix is not None and not name.lower().endswith(config.suffix.lower()):
        name += config.suffix
    return os.path.normpath(os.path.join(folder, name))


def _path_problem(cell: Any) -> str:
    if not isinstance(cell, str) or not cell.strip():
        return "allowed: the path of an image"
    if "://" in cell:
        return "allowed: a file that is here; clsim downloads nothing"
    if "\0" in cell or not _encodable(cell):
        return "which no file can be called"
    return ""


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can spell
        return False
    return True


# --- labels


class _LabelForm(Protocol):
    """One of the two forms labels come in."""

    key: str
    """The option that names the form's columns."""

    def columns(self) -> list[str] | None:
        """Columns that hold labels; None: the table decides."""

    def reader(self, file: Path, table: Table) -> Callable[[Sequence[Any]], Any]:
        """What takes the labels out of the cells of a row, or raises _Wrong; BadTable when the columns do not do."""

    def class_names(self, images: dict[Split, Images]) -> list[str]:
        """The classes, alphabetical, when all tables are read."""

    def matrix(self, labels: Sequence[Any], names: Sequence[str]) -> Coded:
        """The codes of what `reader` took out of N rows."""


class _SoftRow(NamedTuple):
    """Codes of a row with soft labels, and their values."""

    codes: bytes
    soft: list[float]


class _Columns:
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
            raise _Wrong(
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


class _Lists:
    """One column that lists the classes an image shows. A row's labels are their names."""

    key = "label_list"

    def __init__(self, config: ManifestConfig) -> None:
        self.column = config.label_list or ""
        self.separator = config.separator
        self.empty = UNKNOWN if config.empty_list == "unknown" else 0
        nothing = () if config.no_finding is None else (_rule(config.no_finding).name,)
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
                raise _Wrong([f"column {self.column!r}: {problem}"])
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
        _refuse(self.key, problems)
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
