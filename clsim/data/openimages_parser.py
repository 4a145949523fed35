"""Read tables of image-level labels as Open Images has them: a line for each image and label, millions of lines."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from io import BufferedReader, FileIO
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clsim.data.problems import Problems
from clsim.data.table_form import BadTable
from clsim.data.tables import open_table
from clsim.errors import Unplannable
from clsim.opening import regular
from clsim.vocabulary import UNKNOWN

PARSER_VERSION = 1  # of the cached labels
COLUMNS = ("ImageID", "LabelName", "Confidence")
LINES_AT_ONCE = 1_000_000
MOST_CELLS = 4_000_000_000
"""Images times classes of a side: a label matrix of 4 GB."""

_NOT_SAID = -2
_SHOWN = 60
_LONGEST_NAME = 200
_NOT_IN_NAMES = frozenset("/\\")


class Lines(NamedTuple):
    """Some lines of a table: what each distinct image and class is called, and of each line which they are."""

    image_names: Sequence[str]
    images: NDArray[np.int64]  # [n]
    class_names: Sequence[str]
    classes: NDArray[np.int64]  # [n]
    confidences: NDArray[np.float64]  # [n]


class Side:
    """What the tables of one side, training or test, say of the wanted classes.

    Nine bytes are kept for a line that says whether a class is present.

    Args:
        wanted: machine names of the classes; None: all that are met.
        threshold: confidence between 0 and 1 from which on a class is present; below it is unknown. None: there is no
            such confidence.
    """

    def __init__(self, wanted: frozenset[str] | None, threshold: float | None) -> None:
        self.wanted = wanted
        self.threshold = threshold
        self.row_of: dict[str, int] = {}
        self.column_of: dict[str, int] = {}
        self.images: list[NDArray[np.int32]] = []
        self.classes: list[NDArray[np.int32]] = []
        self.values: list[NDArray[np.bool_]] = []

    def read(self, file: Path, key: str) -> None:
        """Add the lines of a table.

        Raises:
            Unplannable: it cannot be read, or a line is none; with the number of problems and the first ones.
        """
        before, rows, columns = len(self.images), len(self.row_of), len(self.column_of)
        try:
            for lines in _fast(file):
                self._add(lines)
        except ValueError:  # of pandas, too: read again, by what knows other forms and tells the line
            del self.images[before:], self.classes[before:], self.values[before:]
            self.row_of = dict(islice(self.row_of.items(), rows))
            self.column_of = dict(islice(self.column_of.items(), columns))
            try:
                for lines in self._carefully(file, key):
                    self._add(lines)
            except BadTable as error:
                raise Unplannable(("dataset", key), str(error)) from None
        except OSError as error:
            raise Unplannable(("dataset", key), f"{file}: cannot be read: {error.strerror or error}") from None

    def _carefully(self, file: Path, key: str) -> Iterator[Lines]:
        """Yield the lines of a table from the reader of all tables, after a look at each."""
        problems = Problems()
        with open_table(file, COLUMNS) as table:
            while some := list(islice(table.rows, LINES_AT_ONCE // 10)):
                images, classes, confidences = [], [], []
                for row in some:
                    image, name, text = (str(cell).strip() for cell in row.cells)
                    if problem := self._problem(image, name, text):
                        problems.add(row.where, problem)
                        continue
                    images.append(image)
                    classes.append(name)
                    confidences.append(float(text))
                every = np.arange(len(images))
                if not problems.count:
                    yield Lines(images, every, classes, every, np.array(confidences, dtype=np.float64))
        problems.refuse(key)

    def _problem(self, image: str, name: str, text: str) -> str:
        if not _is_name(image):
            return f"'ImageID': given {image[:_SHOWN]!r}, allowed: the name of an image without its ending"
        if not name:
            return "'LabelName': given '', allowed: the machine name of a class"
        try:
            confidence = float(text)
        except ValueError:
            confidence = -1.0
        if not 0 <= confidence <= 1:
            return f"'Confidence': given {text[:_SHOWN]!r}, allowed: 0 to 1"
        if self.threshold is None and 0 < confidence < 1:
            return f"'Confidence': given {text!r}, of a machine; dataset.threshold takes such labels"
        return ""

    def _add(self, lines: Lines) -> None:
        """Keep what some lines say.

        Raises:
            ValueError: an image, class or confidence that cannot be.
        """
        names, confidences = [name.strip() for name in lines.class_names], lines.confidences
        certain = (confidences == 0) | (confidences == 1)
        if not ((confidences >= 0) & (confidences <= 1)).all() or (self.threshold is None and not certain.all()):
            raise ValueError("confidence")
        if not all(names) or not all(map(_is_name, map(str.strip, lines.image_names))):
            raise ValueError("name")
        wanted = self.wanted
        column = np.array(
            [
                self.column_of.setdefault(name, len(self.column_of)) if wanted is None or name in wanted else -1
                for name in names
            ],
            dtype=np.int32,
        )
        classes = column[lines.classes] if len(column) else np.empty(0, dtype=np.int32)
        present = confidences >= (1 if self.threshold is None else self.threshold)
        kept = np.flatnonzero((classes >= 0) & (present | (confidences == 0)))
        rows = np.full(len(lines.image_names), -1, dtype=np.int32)
        images = lines.images[kept]
        for place in np.flatnonzero(np.bincount(images, minlength=len(rows))).tolist():
            rows[place] = self.row_of.setdefault(lines.image_names[place].strip(), len(self.row_of))
        self.images.append(rows[images])
        self.classes.append(classes[kept])
        self.values.append(present[kept])

    def matrix(
        self, columns: Sequence[str], unlisted: int, contradiction: str, key: str
    ) -> tuple[list[str], NDArray[np.int8]]:
        """Return the images, ascending, and their labels, int8 [N, C]: 1 present, 0 absent, -1 unknown.

        The object is of no use afterwards.

        Args:
            columns: machine names of the C classes.
            unlisted: what an entry is that no line names: 0 or -1.
            contradiction: "error" or "unknown", what an entry is that is present and absent by different lines.
            key: option that an error names.

        Raises:
            Unplannable: a contradiction, or a matrix that is too large.
        """
        shape = len(self.row_of), len(columns)
        if shape[0] * shape[1] > MOST_CELLS:
            text = f"{shape[0]} images x {shape[1]} classes make a label matrix of {shape[0] * shape[1] / 1e9:.0f} GB"
            raise Unplannable(("dataset", key), f"{text}; dataset.class_names says which classes to read")
        place = {name: number for number, name in enumerate(columns)}
        column = np.array([place[name] for name in self.column_of], dtype=np.int32)
        names = sorted(self.row_of)
        row = np.empty(len(names), dtype=np.int32)
        row[[self.row_of[name] for name in names]] = np.arange(len(names), dtype=np.int32)
        labels = np.full(shape, _NOT_SAID, dtype=np.int8)
        contradicted: list[tuple[int, int]] = []
        for value in (0, 1):
            for images, classes, present in zip(self.images, self.classes, self.values, strict=True):
                at = row[images[present == value]], column[classes[present == value]]
                if value:
                    both = labels[at] == 0
                    contradicted += zip(at[0][both].tolist(), at[1][both].tolist(), strict=True)
                labels[at] = value
        if contradicted and contradiction == "error":
            image, number = names[contradicted[0][0]], len(set(contradicted))
            text = f"{number} labels are present and absent, the first is {columns[contradicted[0][1]]!r} in {image!r}"
            raise Unplannable(("dataset", key), f"{text}; dataset.contradiction: unknown takes them as unknown")
        if contradicted:
            labels[tuple(np.array(contradicted).T)] = UNKNOWN
        for start in range(0, len(names), LINES_AT_ONCE // 10):  # no second matrix of the same size
            block = labels[start : start + LINES_AT_ONCE // 10]
            block[block == _NOT_SAID] = unlisted
        return names, labels


class _WithoutNul(FileIO):
    """A file in which a zero byte is an error: pandas before 3.1 ends the cell there and says nothing."""

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer; return the number of bytes read.

        Raises:
            ValueError: one of them is zero.
        """
        count = super().readinto(buffer)
        if b"\0" in bytes(buffer[:count]):
            raise ValueError("a zero byte")
        return count


def _fast(file: Path) -> Iterator[Lines]:
    """Yield the lines of a plain table in UTF-8, a million at a time.

    Raises:
        ValueError: pandas cannot read it, or not so.
    """
    import pandas
    from pandas.errors import ParserWarning

    kinds: dict[str, Any] = {"ImageID": "category", "LabelName": "category", "Confidence": np.float64}
    raw = BufferedReader(_WithoutNul(file, opener=regular), 1 << 20)
    with raw, warnings.catch_warnings():
        warnings.simplefilter("error", ParserWarning)
        try:
            chunks = pandas.read_csv(
                raw, dtype=kinds, chunksize=LINES_AT_ONCE, na_filter=False, index_col=False, low_memory=False
            )
            yield from map(_lines, chunks)
        except (ParserWarning, KeyError) as error:  # rows that are too long, or a column that is not there
            raise ValueError(error) from None


def _lines(chunk: Any) -> Lines:
    """Return the lines in a frame of pandas."""
    image, name = chunk["ImageID"].cat, chunk["LabelName"].cat
    return Lines(
        image.categories.tolist(),
        image.codes.to_numpy(dtype=np.int64),
        name.categories.tolist(),
        name.codes.to_numpy(dtype=np.int64),
        chunk["Confidence"].to_numpy(),
    )


def _is_name(image: str) -> bool:
    """Return whether a text can be the name of an image in one folder."""
    fits = 0 < len(image) <= _LONGEST_NAME and image not in (".", "..")
    return fits and image.isprintable() and _NOT_IN_NAMES.isdisjoint(image)
