"""Classes of Open Images: machine names such as /m/01yrx, and the names that tables of descriptions give them."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from clsim.data.problems import Problems
from clsim.data.table_form import BadTable
from clsim.errors import did_you_mean

DESCRIPTIONS = "*class-descriptions*.csv"


def display_names(tables: Iterable[tuple[Path, str]]) -> dict[str, str]:
    """Return machine name -> display name; two classes under one name are told apart by their machine names.

    Args:
        tables: path and text of each table of descriptions; a row of anything but two names is passed over.

    Raises:
        BadTable: a text is no table, such as one with a cell of megabytes.
    """
    found = dict(pair for path, text in tables for pair in _pairs(path, text))
    bearers = Counter(found.values())
    return {key: f"{name} ({key})" if bearers[name] > 1 else name for key, name in found.items()}


def chosen_classes(
    names: Sequence[str], display: dict[str, str], folder: Path, problems: Problems, key: str
) -> frozenset[str]:
    """Return the machine names of classes that are given by display or machine name.

    Args:
        display: machine name -> display name; empty: there are no descriptions, and any machine name will do.
        folder: of the tables of descriptions, for messages.
        problems: gets the names that are unknown.
        key: option that names the classes, likewise; an empty text: the error has it already.
    """
    machine_names = {name: machine_name for machine_name, name in display.items()}
    for name in names:
        described = name in machine_names or name in display if display else name.startswith("/")
        if not described:
            hint = did_you_mean(name, machine_names)
            problems.add(key, f"given {name!r}, which no {DESCRIPTIONS} in {folder} names{hint}")
    return frozenset(machine_names.get(name, name) for name in names)


def _pairs(path: Path, text: str) -> Iterator[tuple[str, str]]:
    rows = csv.reader(text.splitlines())
    try:
        for cells in rows:
            if len(cells) == 2 and cells[0].startswith("/"):
                yield cells[0].strip(), cells[1].strip()
    except csv.Error as error:
        raise BadTable(f"{path}:{rows.line_num}: not comma-separated values: {error}") from None
