"""Recognise what the columns of somebody's table of images mean."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clsim.data.folder import SUFFIXES as IMAGES
from clsim.data.tables import SUFFIXES, open_table
from clsim.opening import regular

PairOf = Callable[[Sequence[str]], tuple[str, str | None] | None]
"""Names of splits or files -> those to train and to test on, see `clsim.data.recognise`."""

SPLIT_COLUMNS = ("split", "set", "subset", "partition")
LIST_COLUMNS = (
    *("labels", "label", "tags", "tag", "classes", "class", "categories", "category", "finding labels", "findings"),
)
SEPARATORS = ("|", ";", ",", " ")
BITS = {"", "0", "1", "0.0", "1.0", "-1", "-1.0", "true", "false", "yes", "no"}
MOST_HEADER = 1_000_000
"""Characters of the first line of a CSV file in which the delimiter is looked for."""
MOST_LISTED = 20
"""Columns of classes that are named one by one."""
MOST_VALUES = 1000
"""Different values of a column that are remembered."""


@dataclass
class _Column:
    values: set[str] = field(default_factory=set)

    def take(self, cell: Any) -> None:
        if len(self.values) < MOST_VALUES:
            self.values.add(json.dumps(cell) if isinstance(cell, list) else "" if cell is None else str(cell).strip())

    @property
    def are_images(self) -> bool:
        given = self.values - {""}
        return bool(given) and all(value.lower().endswith(IMAGES) for value in given)

    @property
    def are_bits(self) -> bool:
        values = {value.lower() for value in self.values}
        return values <= BITS and bool(values & {"1", "1.0", "true", "yes"})


def recognise_table(
    folder: Path, pair_of: PairOf, share: dict[str, float]
) -> tuple[dict[str, Any], tuple[str, ...]] | None:
    """Return the section `dataset` that reads a table in a folder, and notes on it; None: there is none.

    Args:
        folder: where it lies.
        pair_of: finds out which files or splits are to train and to test on.
        share: of the images for testing where nothing says which.

    Raises:
        BadTable: a table that cannot be read.
    """
    tables = {path.name: path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES}
    pair = pair_of(list(tables)) if len(tables) > 1 else None
    if pair is None or pair[1] is None:
        names: Sequence[str] = [pair[0]] if pair else list(tables)
        for name in names:
            if (found := _whole(tables[name], pair_of, share)) is not None:
                return found
        return None
    train, test = tables[pair[0]], tables[pair[1]]
    delimiter, columns = _read(train)
    meaning = _meaning(train, columns, delimiter)
    if meaning is None:
        return None
    dataset, notes = meaning
    return {"name": "manifest", "train_file": str(train), "test_file": str(test), **dataset}, tuple(notes)


def _whole(path: Path, pair_of: PairOf, share: dict[str, float]) -> tuple[dict[str, Any], tuple[str, ...]] | None:
    delimiter, columns = _read(path)
    split = next((name for name in columns if name.lower() in SPLIT_COLUMNS), None)
    values = sorted(columns[split].values - {""}) if split is not None else []
    pair = pair_of(values)
    meaning = _meaning(path, {name: column for name, column in columns.items() if name != split}, delimiter)
    if meaning is None:
        return None
    dataset, notes = meaning
    if split is None or pair is None:
        if split is not None and dataset.get("label_columns") == "rest":
            dataset["other_columns"] = [*dataset.get("other_columns", []), split]
        dataset["test"] = share
    elif pair[1] is None:
        dataset |= {"split_column": split, "train_splits": [pair[0]], "test": share}
        dataset |= {"other_splits": [value for value in values if value != pair[0]]} if len(values) > 1 else {}
    else:
        dataset |= {"split_column": split, "train_splits": [pair[0]], "test_splits": [pair[1]]}
        if others := [value for value in values if value not in pair]:
            dataset["other_splits"] = others
            notes.append(f"other_splits are left out; to train on them too: train_splits: [{pair[0]}, ...]")
    return {"name": "manifest", "file": str(path), **dataset}, tuple(notes)


def _read(path: Path) -> tuple[str | None, dict[str, _Column]]:
    """Return the delimiter, where it is not the usual one, and the columns."""
    delimiter = None
    if path.suffix.lower() == ".csv":
        with open(path, encoding="utf-8-sig", errors="replace", opener=regular) as file:
            header = file.readline(MOST_HEADER)
            while header.startswith("#"):
                header = file.readline(MOST_HEADER)
        delimiter = max(",;\t|", key=header.count)
    with open_table(path, delimiter=delimiter) as table:
        columns = {name: _Column() for name in table.columns}
        for row in table.rows:
            for column, cell in zip(columns.values(), row.cells, strict=True):
                column.take(cell)
    return (None if delimiter == "," else delimiter), columns


def _meaning(path: Path, columns: dict[str, _Column], delimiter: str | None) -> tuple[dict[str, Any], list[str]] | None:
    """Return the keys that say which column holds images and labels, and notes; None: no images, or no labels."""
    images = next((name for name, column in columns.items() if column.are_images), None)
    if images is None:
        return None
    dataset: dict[str, Any] = {"path_column": images} if images != "path" else {}
    notes = []
    if delimiter is not None:
        dataset["delimiter"] = delimiter
    first = min(columns[images].values - {""})
    homes = [path.parent, *sorted(home for home in path.parent.iterdir() if home.is_dir())]
    home = next((home for home in homes if (home / first).is_file()), None)
    if home is None:
        notes.append(f"image_folder: no folder holds {first}")
    elif home != path.parent:
        dataset["image_folder"] = str(home)
    bits = [name for name, column in columns.items() if column.are_bits and name != images]
    others = [name for name in columns if name not in (*bits, images)]
    texts = [name for name in others if name.lower() in LIST_COLUMNS] or (others if len(others) == 1 else [])
    if len(bits) > 1:
        whole = not others or len(bits) > MOST_LISTED
        dataset |= {
            "label_columns": "rest" if whole else bits,
            **({"other_columns": others} if whole and others else {}),
        }
        if any({"-1", "-1.0"} & columns[name].values for name in bits):
            dataset["minus_one"] = "unknown"
            notes.append("minus_one: unknown, absent, or {uncertain: positive}: what does -1 mean in this table?")
        if others:
            notes.append(f"taken for no classes: {', '.join(others)}")
    elif texts:
        dataset["label_list"] = texts[0]
        separators = [mark for mark in SEPARATORS if any(mark in value for value in columns[texts[0]].values)]
        if (
            separators
            and separators[0] != "|"
            and not all(v[:1] in ("[", "{", "(", "") for v in columns[texts[0]].values)
        ):
            dataset["separator"] = separators[0]
            notes.append(f"separator: is {separators[0]!r} really between two classes?")
    else:
        return None
    return dataset, notes
