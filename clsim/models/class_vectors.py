"""One fixed vector per class: drawn by its name, or from a file of word vectors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clsim.errors import RunError, did_you_mean
from clsim.randomness import derive_seed

Vector = NDArray[np.float32]


class ClassVectors:
    """Fixed vectors of classes, by column.

    Without a file each is drawn from a unit Gaussian by (seed, name), so that neither order nor growth matters. A file
    is text in the format of GloVe: on each line a name and its numbers, divided by spaces. DECIDED: a class has the
    first line of its name as it is, in small letters, or with "_", "-" or nothing between its words; else the mean of
    its words' vectors.

    Args:
        names: of the classes, in the stream's order. A column without a name has a vector drawn by its number.
        seed: of the run.
        width: of the drawn vectors.
        file: word vectors; None: drawn ones. Its lines say the width.

    Attributes:
        width: numbers of each vector.

    Raises:
        RunError: the file cannot be read, has a damaged line among those that are needed, or lacks a class.
    """

    def __init__(self, names: Sequence[str], seed: int, width: int = 300, file: Path | None = None) -> None:
        self.names = tuple(names)
        self.seed = seed
        self.width = width
        self._read: dict[str, Vector] = {}
        if file is not None:
            self._read = read_vectors(file, self.names)
            self.width = next((len(vector) for vector in self._read.values()), width)

    def __call__(self, columns: range) -> Tensor:
        """Return the vectors of columns, float32 [n, width]."""
        return torch.stack([self._vector(column) for column in columns])

    def _vector(self, column: int) -> Tensor:
        name = self.names[column] if column < len(self.names) else column
        if isinstance(name, str) and name in self._read:
            return torch.from_numpy(self._read[name])
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "class vector", name))
        return torch.randn(self.width, generator=generator)


def read_vectors(file: Path, names: Sequence[str]) -> dict[str, Vector]:
    """Return the vector of each name from a text file in the format of GloVe; see `ClassVectors`.

    Raises:
        RunError: as `ClassVectors`.
    """
    wanted = {spelling for name in names for spelling in [*_spellings(name), *_words(name)]}
    found: dict[str, Vector] = {}
    known: set[str] = set()
    for number, name, numbers in _lines(file):
        known.add(name)
        if name not in wanted or name in found:
            continue
        vector = _vector(f"{file}, line {number}", numbers)
        if found and len(vector) != (width := len(next(iter(found.values())))):
            raise RunError(f"{file}, line {number}: given {len(vector)} numbers of {name!r}, expected {width}")
        found[name] = vector
    return {name: _vector_of(name, found, known, file) for name in names}


def _vector_of(name: str, found: dict[str, Vector], known: set[str], file: Path) -> Vector:
    for spelling in _spellings(name):
        if spelling in found:
            return found[spelling]
    words = _words(name)
    missing = [word for word in words if word not in found]
    if missing or not words:
        word = missing[0] if missing else name
        near = [other for other in known if other[:1] == word[:1] and abs(len(other) - len(word)) < 3]
        of_word = f", nor of its word {word!r}" if word != name else ""
        raise RunError(f"{file}: no vector of class {name!r}{of_word}{did_you_mean(word, near)}")
    return np.mean([found[word] for word in words], axis=0, dtype=np.float32)


def _lines(file: Path) -> Iterator[tuple[int, str, str]]:
    """Yield the number of each line, its name and the text of its numbers."""
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                name, _, numbers = line.strip().partition(" ")
                yield number, name, numbers
    except OSError as error:
        raise RunError(f"{file}: class vectors cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RunError(f"{file}: not a text file of class vectors, UTF-8") from None


def _vector(where: str, numbers: str) -> Vector:
    try:
        vector = np.array(numbers.split(), dtype=np.float32)
    except ValueError as error:
        raise RunError(f"{where}: expected a name and numbers: {error}") from None
    if not len(vector) or not np.isfinite(vector).all():
        raise RunError(f"{where}: expected a name and finite numbers, given {numbers[:40]!r}")
    return vector


def _spellings(name: str) -> list[str]:
    words = _words(name)
    return [name, name.lower(), *(between.join(words) for between in ("_", "-", ""))]


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[\s_/-]+", name.lower()) if word]
