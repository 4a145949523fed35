"""Label matrices of PASCAL VOC's two kinds of label files, and all that is wrong with them."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clsim.data.problems import Problems
from clsim.data.voc_annotations import read_annotations
from clsim.data.voc_layout import image_id, read_text
from clsim.errors import Unplannable, did_you_mean

ABSENT, PRESENT, DIFFICULT = 0, 1, 2
"""Entries of a parsed matrix, before `difficult` decides what the third means."""
CLASS_FILE_FLAGS = {"1": PRESENT, "-1": ABSENT, "0": DIFFICULT}
_WIDTH = 110
_LONGEST_NAME = 100

Labels = NDArray[np.int8]


class UnknownClasses(Unplannable):
    """Annotations that name classes which `class_names` does not have.

    Attributes:
        found: class name -> images that show it, of all annotations.
        first: unknown class name -> the first file that names it.
        known: `class_names`.
        own: whether the user lists them; the twenty of PASCAL VOC are no part of a list of own classes.
    """

    def __init__(self, found: Counter[str], first: dict[str, str], known: Sequence[str], own: bool) -> None:
        self.found, self.first, self.known, self.own = found, first, known, own
        count = "an unknown class" if len(first) == 1 else f"{len(first)} unknown classes"
        lines = [
            f"{json.dumps(name[:_LONGEST_NAME], ensure_ascii=False)}: images {found[name]}, the first {file}"
            f"{did_you_mean(name, known)}"
            for name, file in sorted(first.items())
        ]
        text = "\n".join([f"the annotations name {count}:", *lines, *self._advice()])
        super().__init__(("dataset", "class_names"), text)

    def _advice(self) -> list[str]:
        """Return the list of classes to paste, on lines that no error cuts; it is YAML."""
        names = sorted({*(self.known if self.own else ()), *self.found})
        if any(len(name) > _LONGEST_NAME for name in names):
            return []
        given = f"class_names: {json.dumps(names, ensure_ascii=False)}"
        lines = textwrap.wrap(given, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        return ["if they are meant, paste this below dataset:", *lines]

    def joined(self, other: UnknownClasses) -> UnknownClasses:
        """Return what both say, of the annotations of two splits."""
        return UnknownClasses(self.found + other.found, other.first | self.first, self.known, self.own)


def parse_class_files(files: Sequence[str], images: Sequence[str], class_names: Sequence[str]) -> Labels:
    """Class presence from one file a class, int8 [N, C]: ABSENT, PRESENT or DIFFICULT.

    Args:
        files: one for each class; lines `id flag` with flag 1, -1 or 0 (only difficult objects).
        images: the N ids of the split, ascending; every file must hold exactly these.

    Raises:
        Unplannable: malformed lines, or other ids than `images`; all are counted.
    """
    labels = np.empty((len(images), len(class_names)), dtype=np.int8)
    problems = Problems()
    for column, path in enumerate(files):
        before = problems.count
        flags = _read_flags(path, problems)
        if problems.count == before and (fault := _difference(flags, set(images))):
            problems.add(path, fault)
        if problems.count == before:
            labels[:, column] = [flags[image] for image in images]
    problems.refuse("root")
    return labels


def _read_flags(path: str, problems: Problems) -> dict[str, int]:
    flags: dict[str, int] = {}
    for number, line in enumerate(read_text(Path(path), "root").splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        image = image_id(words[0]) if len(words) == 2 and words[1] in CLASS_FILE_FLAGS else None
        if image is None:
            problems.add(f"{path}:{number}", f"given {line[:60]!r}, expected an image id and 1, -1 or 0")
        elif image in flags:
            problems.add(f"{path}:{number}", f"image {image} is listed more than once")
        else:
            flags[image] = CLASS_FILE_FLAGS[words[1]]
    return flags


def _difference(flags: dict[str, int], expected: set[str]) -> str:
    """Return which images a class file lacks, or has beyond the split."""
    lacks, surplus = sorted(expected - flags.keys()), sorted(flags.keys() - expected)
    if not lacks and not surplus:
        return ""
    fault = f"lacks image {lacks[0]}" if lacks else f"has image {surplus[0]}, which is not in the split"
    more = len(lacks or surplus) - 1
    return fault + (f" ({more} more like it)" if more else "")


def parse_annotations(
    files: Sequence[str], images: Sequence[str], class_names: Sequence[str], own: bool = True
) -> Labels:
    """Class presence from annotation files, int8 [N, C]: ABSENT, PRESENT or DIFFICULT (all its objects are).

    Args:
        files: XML file of each of the N images.
        own: whether the classes are listed by the user, who is told the list with what is missing in it.

    Raises:
        Unplannable: files are missing or malformed; all are counted.
        UnknownClasses: they name classes that are none of `class_names`.
    """
    columns = {name: column for column, name in enumerate(class_names)}
    labels = np.full((len(images), len(class_names)), ABSENT, dtype=np.int8)
    found: Counter[str] = Counter()
    first: dict[str, str] = {}
    for row, objects in enumerate(read_annotations(files)):
        found.update(objects.keys())
        for name, plain in objects.items():
            if name in columns:
                labels[row, columns[name]] = PRESENT if plain else DIFFICULT
            else:
                first.setdefault(name, files[row])
    if first:
        raise UnknownClasses(found, first, class_names, own)
    return labels
