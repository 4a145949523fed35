"""What the tables of a manifest say, and what is wrong with them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from clsim.data.held_out import ShareOfTraining, split_rows
from clsim.data.label_cache import Arrays, pack_texts
from clsim.data.label_values import NoFinding, without_finding
from clsim.data.manifest_config import ManifestConfig, split_name
from clsim.data.manifest_labels import Coded, LabelColumns, LabelForm, WrongRow
from clsim.data.manifest_lists import LabelLists, LabelRows, no_finding_rule
from clsim.data.manifest_rows import Images
from clsim.data.problems import Problems
from clsim.data.source import Split
from clsim.data.table_form import BadTable, Row, Table
from clsim.data.tables import open_table
from clsim.errors import Unplannable, did_you_mean

PARSER_VERSION = 5  # of the cached labels

_SPLITS: tuple[Split, ...] = ("train", "test")
_PLAIN_NAME = re.compile(r"[\w-][\w. -]*+(?<! )").fullmatch
"""Whether a name means the same in every folder, and needs no care."""


class TableOf(NamedTuple):
    """A table, the key that names it, and the split of all its rows; None: a column says which."""

    key: str
    file: Path
    split: Split | None


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
        `test_files` (absolute), packed texts; `repeated`, int64 [1], rows that repeat another one exactly.

    Raises:
        Unplannable: the number of problems and the first ones, each with file, line, column and what is allowed.
    """
    kind: LabelForm = LabelColumns(config)
    if config.label_list is not None or config.label_column is not None:
        kind = LabelLists(config) if config.label_column is None else LabelRows(config)
    images: dict[Split, Images] = {split: Images(kind.rows()) for split in _SPLITS}
    places: dict[str, int] = {}
    repeated = 0
    for given in tables_of(config):
        try:
            repeated += _read(config, kind, given, images, places)
        except BadTable as error:
            raise Unplannable(("dataset", given.key), str(error)) from None
    files: dict[Split, list[str]] = {
        "train": [file for file, place in places.items() if place >= 0],
        "test": [file for file, place in places.items() if place < 0],
    }
    del places
    packed = {} if config.shares else {split: pack_texts(files.pop(split)) for split in _SPLITS}
    names = kind.class_names(images)
    found = {split: kind.matrix(images[split].labels, names) for split in _SPLITS}
    if config.no_finding is not None:
        names, found = _without_finding(no_finding_rule(config.no_finding), kind, names, found, images)
    if isinstance(config.test, ShareOfTraining):
        rows = dict(zip(_SPLITS, split_rows(found["train"].codes, config.test), strict=True))
        found = {split: found["train"].of(rows[split]) for split in _SPLITS}
        packed = {split: pack_texts([files["train"][row] for row in rows[split].tolist()]) for split in _SPLITS}
    arrays: Arrays = {"class_names": pack_texts(names), "repeated": np.array([repeated])}
    for split in _SPLITS:
        codes, soft = found[split]
        arrays |= {split: codes, f"{split}_soft": soft, f"{split}_files": packed[split]}
    return arrays


def _without_finding(
    rule: NoFinding, kind: LabelForm, names: list[str], found: dict[Split, Coded], images: dict[Split, Images]
) -> tuple[list[str], dict[Split, Coded]]:
    """The classes and codes without "no finding"; a row that contradicts itself is an error with its place."""
    for name in (rule.name, *rule.beside):
        if name not in names:
            raise Unplannable(("dataset", "no_finding"), f"no label {name!r}{did_you_mean(name, names)}")
    problems, left = Problems(), {}
    for split in _SPLITS:
        codes, soft = found[split]
        others, kept, wrong = without_finding(codes, names, rule)
        for row in wrong:
            problems.add(images[split].where(row), f"given {rule.name!r} and another class that is not absent")
        left[split] = Coded(others, soft)
    problems.refuse(kind.key)
    return [names[position] for position in kept], left


def _read(
    config: ManifestConfig,
    kind: LabelForm,
    given: TableOf,
    images: dict[Split, Images],
    places: dict[str, int],
) -> int:
    """Add the images of one table and return how many rows repeat another one exactly, which are joined.

    Args:
        places: where each image is listed first, over all tables: row >= 0 of the training images, or ~row of the
            test images.
    """
    problems, repeated = Problems(), 0
    others = [column for column in (config.path_column, None if given.split else config.column_of_split) if column]
    wanted = (columns := kind.columns()) and [*others, *columns]
    with open_table(given.file, wanted, config.delimiter, config.encoding, config.comment) as table:
        path_at, *split_at = (_position(given.file, table, column) for column in others)
        labels_of = kind.reader(given.file, table)
        split_of, file_of = _split_reader(config), file_reader(config, folder_of(config, given))
        for start, number, cells in until_damage(table, problems):
            try:
                split = split_of(cells[split_at[0]]) if split_at else given.split or "train"
                if split is None:
                    continue
                file, labels = file_of(cells[path_at]), labels_of(cells)
                found = images[split]
                place = len(found.numbers) if split == "train" else ~len(found.numbers)
                first = places.setdefault(file, place)
                if first != place:
                    repeated += _joined(kind, images, first, split, labels, (config.path_column, cells[path_at]))
                    continue
                found.start = start
                found.numbers.append(number)
                found.labels.add(labels)
            except WrongRow as wrong:
                for problem in wrong.problems:
                    problems.add(f"{start}{number}", problem)
    problems.refuse(given.key)
    for split in _SPLITS[:1] if config.shares else _SPLITS:
        if given.split in (split, None) and not images[split].numbers:
            names, column = ", ".join(_split_names(config)), config.column_of_split
            named = "" if given.split or column is None else f"; allowed in {column!r}: {names}"
            raise Unplannable(("dataset", given.key), f"{given.file}: no image of the {split} split{named}")
    return repeated


def until_damage(table: Table, problems: Problems) -> Iterator[Row]:
    """Yield rows until one from which on the file cannot be read."""
    try:
        yield from table.rows
    except BadTable as error:
        problems.add("", str(error))


def _joined(
    kind: LabelForm, images: dict[Split, Images], first: int, split: Split, labels: Any, path: tuple[str, Any]
) -> bool:
    """Join a row with an earlier one of the same image, at place `first`; return whether it is the same in all.

    Raises:
        WrongRow: it says something else.
    """
    earlier: Split = "train" if first >= 0 else "test"
    row, found = max(first, ~first), images[earlier]
    if kind.rows_add_up and earlier == split:
        found.labels.join(row, labels)
        return False
    if earlier != split or found.labels.of(row) != labels:
        what = "split" if kind.rows_add_up else "labels or split"
        text = f"given {path[1]!r} a second time, with other {what}; first in {found.where(row)}"
        raise WrongRow(f"column {path[0]!r}: {text}")
    return True


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
        if type(cell) is str and cell in names:
            return names[cell]
        name = split_name(cell)
        if name not in names:
            raise WrongRow(partial(wrong, name))
        return names[name]

    def wrong(name: str) -> str:
        hint = did_you_mean(name, names) or "; dataset.other_splits names those to leave out"
        return f"column {config.column_of_split!r}: given {name!r}, allowed: {', '.join(names)}{hint}"

    return split_of


def file_reader(config: ManifestConfig, folder: str) -> Callable[[Any], str]:
    """Return what turns a cell of the path column into the path of the file, or raises WrongRow."""
    starts: dict[str, str] = {}  # of paths whose last part is a plain name: what stands before it, by that in the cell
    if config.suffix is not None:
        return partial(_image_file, config, folder)

    def file_of(cell: Any) -> str:
        if type(cell) is str:
            at = cell.rfind("/") + 1
            before, name = cell[:at], cell[at:]
            if _PLAIN_NAME(name):
                if (start := starts.get(before)) is None:
                    start = starts[before] = _image_file(config, folder, cell).removesuffix(name)
                return start + name
        return _image_file(config, folder, cell)

    return file_of


def _image_file(config: ManifestConfig, folder: str, cell: Any) -> str:
    if config.suffix is not None and type(cell) is int:
        cell = str(cell)
    if problem := _path_problem(cell):
        raise WrongRow(f"column {config.path_column!r}: given {cell!r}, {problem}")
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
