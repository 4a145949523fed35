"""Files that name images by their ids: a list, or a table that gives each image a task."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clsim.data.class_names import composed
from clsim.data.source import Split
from clsim.errors import Unplannable, did_you_mean
from clsim.opening import read_regular

Ids = NDArray[np.int64]
Key = tuple[str, ...]

COLUMNS = ("image", "task")
CONFIDENCES = ("image", "class", "confidence")
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


def read_confidences(
    file: Path, names: Sequence[str] | None, column_of: Mapping[str, int], key: Key
) -> tuple[Ids, Ids, NDArray[np.float64]]:
    """Return row, column and confidence of each line, [K] each, of a CSV table.

    Its columns are image, class and confidence. Lines of classes without a column are left out.

    Args:
        names, key: as in `read_ids`.
        column_of: class name -> column; -1: none.

    Raises:
        Unplannable: no such file, a wrong header, an unknown id or class, a confidence that is none, a pair of image
            and class that is there twice; with the line.
    """
    known = _Names(file, names, key, "train")
    lines = _lines(file, key)
    number, header = next(lines, (1, ""))
    columns = [cell.lower() for cell in _cells(file, number, header, key)]
    if sorted(columns) != sorted(CONFIDENCES):
        raise _problem(key, f"{file}:{number}: given {header[:_SHOWN]!r}, expected the header {','.join(CONFIDENCES)}")
    image, name, value = (columns.index(column) for column in CONFIDENCES)
    found: dict[tuple[int, int], float] = {}
    for number, line in lines:
        cells = _cells(file, number, line, key)
        if len(cells) != len(CONFIDENCES):
            raise _problem(key, f"{file}:{number}: {len(cells)} cells, expected an image, a class and a confidence")
        row, class_name = known.row(cells[image], number), composed(cells[name])
        if class_name not in column_of:
            shown = class_name[:_SHOWN]
            raise _problem(key, f"{file}:{number}: unknown class {shown!r}{did_you_mean(shown, list(column_of))}")
        confidence = _confidence(cells[value])
        if confidence is None:
            raise _problem(key, f"{file}:{number}: confidence {cells[value][:_SHOWN]!r}, allowed: 0 to 1")
        if (row, column_of[class_name]) in found:
            raise _problem(key, f"{file}:{number}: {cells[image]!r} and {class_name!r} are there a second time")
        if column_of[class_name] >= 0:
            found[row, column_of[class_name]] = confidence
    pairs = np.array(list(found), dtype=np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1], np.array(list(found.values()))


def _confidence(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None


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
