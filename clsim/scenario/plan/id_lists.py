"""Files that name images by their ids: a list, or a table that gives each image a task."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clsim.data.source import Split
from clsim.errors import Unplannable, did_you_mean
from clsim.opening import read_regular

Ids = NDArray[np.int64]
Key = tuple[str, ...]

COLUMNS = ("image", "task")
_SHOWN = 80
"""Characters of what a file says that an error shows."""


def read_ids(file: Path, names: Sequence[str] | None, key: Key, split: Split = "train") -> Ids:
    """Return the rows of the images that a text file lists, int64, in its order.

    The file has one id a line; empty lines and lines from # on are skipped.

    Args:
        names: id of each image: VOC's, COCO's and Open Images' own, the path in a manifest or in
            NUS-WIDE, the number of a digit scene; None: the
            data set has none.
        key: of the scenario that names the file, for error messages.
        split: that the images are of, likewise.

    Raises:
        Unplannable: no such file, an unknown or repeated id; with the line.
    """
    known = _Names(file, names, key, split)
    line_of: dict[int, int] = {}
    for number, line in _lines(file, key):
        name = line.strip()
        row = known.row(name, number)
        if row in line_of:
            raise _problem(key, f"{file}:{number}: {name!r} is there a second time, first in line {line_of[row]}")
        line_of[row] = number
    if not line_of:
        raise _problem(key, f"{file}: no ids in it")
    return np.array(list(line_of), dtype=np.int64)


def read_partition(
    file: Path, names: Sequence[str] | None, n_tasks: int, key: Key, split: Split = "train"
) -> list[Ids]:
    """Return the rows of each task's images, int64 [n] ascending, from a CSV table with the columns image and task.

    An image with several lines is in several tasks. Tasks count from 0; one without a line has no image.

    Args:
        names, key, split: as in `read_ids`.

    Raises:
        Unplannable: no such file, a wrong header, an unknown id, a task that is none, a line that is there twice.
    """
    known = _Names(file, names, key, split)
    tasks: list[dict[int, int]] = [{} for _ in range(n_tasks)]
    lines = _lines(file, key)
    number, header = next(lines, (1, ""))
    columns = [cell.lower() for cell in _cells(file, number, header, key)]
    if sorted(columns) != sorted(COLUMNS):
        raise _problem(key, f"{file}:{number}: given {header[:_SHOWN]!r}, expected the header image,task")
    image = columns.index("image")
    task_of = {str(task): task for task in range(n_tasks)}
    for number, line in lines:
        cells = _cells(file, number, line, key)
        if len(cells) != len(COLUMNS):
            raise _problem(key, f"{file}:{number}: {len(cells)} cells, expected an image and a task")
        row, text = known.row(cells[image], number), cells[1 - image]
        if text not in task_of:
            raise _problem(key, f"{file}:{number}: task {text[:_SHOWN]!r}, allowed: 0 to {n_tasks - 1}")
        task = tasks[task_of[text]]
        if row in task:
            raise _problem(key, f"{file}:{number}: {cells[image]!r} is in task {text} already, by line {task[row]}")
        task[row] = number
    return [np.array(sorted(task), dtype=np.int64) for task in tasks]


class _Names:
    """Ids of a data set's images, which lines of a file name."""

    def __init__(self, file: Path, names: Sequence[str] | None, key: Key, split: Split) -> None:
        if names is None:
            raise _problem(key, "this data set has no ids")
        self.file, self.names, self.key = file, names, key
        self.what = "a training image" if split == "train" else "a test image"
        self.rows = {name: row for row, name in enumerate(names)}

    def row(self, name: str, number: int) -> int:
        """Return the row of an image that the line `number` names; back-slashes may stand for slashes."""
        if name not in self.rows and (slashed := name.replace("\\", "/")) in self.rows:
            return self.rows[slashed]
        if name not in self.rows:
            known = f"{did_you_mean(name, self.names)}; ids look like {self.names[0]!r}" if self.names else ""
            shown = name[:_SHOWN]
            raise _problem(self.key, f"{self.file}:{number}: {shown!r} is not the id of {self.what}{known}")
        return self.rows[name]


def _cells(file: Path, number: int, line: str, key: Key) -> list[str]:
    """Return the cells of a line of comma-separated values, without blanks around them."""
    try:
        return [cell.strip() for cell in next(csv.reader([line]), [])]
    except csv.Error as error:
        raise _problem(key, f"{file}:{number}: not comma-separated values: {error}") from None


def _lines(file: Path, key: Key) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines that say something."""
    try:
        lines = read_regular(file).decode("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise _problem(key, f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line


def _problem(key: Key, text: str) -> Unplannable:
    return Unplannable(key, text)
