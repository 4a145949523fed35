"""What the tables of a manifest say, and what is wrong with them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from clsim.data.held_out import ShareOfTraining, split_rows
from clsim.data.label_cache import Arrays, pack_texts
from clsim.data.label_values import NoFinding, without_finding
from clsim.data.manifest_config import ManifestConfig
from clsim.data.manifest_labels import (
    MOST_PROBLEMS,
    Coded,
    Images,
    LabelColumns,
    LabelForm,
    LabelLists,
    WrongRow,
    no_finding_rule,
    refuse,
)
from clsim.data.source import Split
from clsim.data.tables import BadTable, Table, open_table
from clsim.errors import Unplannable, did_you_mean

PARSER_VERSION = 3  # of the cached labels

_SPLITS: tuple[Split, ...] = ("train", "test")
Places = dict[str, tuple[str, Split, Any]]
"""Image file -> where it is listed first, over all tables, with its split and its labels."""

log = logging.getLogger("clsim")


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
        `test_files` (absolute), packed texts.

    Raises:
        Unplannable: the first problems, each with file, line, column, what was given and what is allowed.
    """
    kind: LabelForm = LabelLists(config) if config.label_list is not None else LabelColumns(config)
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
        names, found = _without_finding(no_finding_rule(config.no_finding), kind, names, found, images)
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


def _without_finding(
    rule: NoFinding, kind: LabelForm, names: list[str], found: dict[Split, Coded], images: dict[Split, Images]
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
        for row in wrong[: MOST_PROBLEMS + 1]:
            problems.append(f"{where[row]}: given {rule.name!r} and another class that is not absent")
        left[split] = Coded(others, soft)
    refuse(kind.key, problems)
    return [names[position] for position in kept], left


def _read(config: ManifestConfig, kind: LabelForm, given: TableOf, images: dict[Split, Images], places: Places) -> None:
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
                    raise WrongRow([f"column {config.path_column!r}: {text}"])
            except WrongRow as wrong:
                problems += [f"{row.where}: {problem}" for problem in wrong.problems]
                if len(problems) > MOST_PROBLEMS:
                    break
                continue
            for part, value in zip(images[split], (file, row.where, labels), strict=True):
                part.append(value)
    refuse(given.key, problems)
    if repeated:
        log.warning("%s: %d rows repeat another one exactly, and are joined", given.file, repeated)
    for split in _SPLITS[:1] if config.shares else _SPLITS:
        if given.split in (split, None) and not images[split].files:
            names, column = ", ".join(_split_names(config)), config.column_of_split
            named = "" if given.split or column is None else f"; allowed in {column!r}: {names}"
            raise Unplannable(("dataset", given.key), f"{given.file}: no image of the {split} split{named}")


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
            raise WrongRow([f"column {config.column_of_split!r}: given {name!r}, allowed: {', '.join(names)}{hint}"])
        return names[name]

    return split_of


def _image_file(config: ManifestConfig, folder: str, cell: Any) -> str:
    if config.suffix is not None and type(cell) is int:
        cell = str(cell)
    if problem := _path_problem(cell):
        raise WrongRow([f"column {config.path_column!r}: given {cell!r}, {problem}"])
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
