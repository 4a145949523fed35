"""A column of a manifest that is no label: what it says of each image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clsim.data.manifest_config import ManifestConfig
from clsim.data.manifest_labels import WrongRow
from clsim.data.manifest_parser import file_reader, folder_of, tables_of, until_damage
from clsim.data.problems import Problems
from clsim.data.source import Split
from clsim.data.table_form import BadTable
from clsim.data.tables import open_table


def read_column(config: ManifestConfig, split: Split, name: str, files: Sequence[str]) -> list[str]:
    """Return the value of each image in a column, as text; the labels have been read without a problem before.

    Args:
        split: that the images are of.
        files: absolute paths of the images.

    Raises:
        BadTable: no such column, an image without a value, or with two; with file and line.
    """
    found: dict[str, str] = dict.fromkeys(files, "")
    problems = Problems()
    for given in tables_of(config):
        if given.split not in (split, None):
            continue
        file_of = file_reader(config, folder_of(config, given))
        with open_table(
            given.file, (config.path_column, name), config.delimiter, config.encoding, config.comment
        ) as table:
            for start, number, (path, cell) in until_damage(table, problems):
                try:
                    file = file_of(path)
                except WrongRow:  # of a split that is left out
                    continue
                if file not in found:
                    continue
                value = _text(cell)
                if not value:
                    problems.add(f"{start}{number}", f"column {name!r}: nothing given, allowed: a text or a number")
                elif found[file] not in ("", value):
                    text = f"column {name!r}: given {value!r}, in an earlier row of this image {found[file]!r}"
                    problems.add(f"{start}{number}", text)
                else:
                    found[file] = value
    if problems.count:
        raise BadTable(problems.text())
    return list(found.values())


def _text(cell: Any) -> str:
    """Return a cell as text: 7.0, as Parquet may have it, is 7."""
    if isinstance(cell, float):
        return f"{cell:g}" if cell == cell else ""
    return "" if cell is None else str(cell).strip()
