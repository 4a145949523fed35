"""What lies on the disk of a data set: labels by class and split, image files that are missing or cannot be read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clsim.cores import usable_cores
from clsim.data.cache import missing_files
from clsim.data.copies import Copies, Pictures, find_copies
from clsim.data.image_cache import BadImage, read_image
from clsim.data.image_files import SPLITS, ImageFiles, none_decoded, without
from clsim.data.own_items import OwnItems
from clsim.data.source import ImageSource, Split
from clsim.data.voc import Voc
from clsim.errors import ClsimError, ScenarioError
from clsim.vocabulary import UNKNOWN

MOST_SHOWN = 20
"""Unreadable images that an error names one by one."""


@dataclass(frozen=True, eq=False)
class SplitCheck:
    """One split of a data set.

    Attributes:
        split: train or test.
        images: N, images that have labels.
        positives: int64 [C], images that show each class.
        not_annotated: int64 [C], images whose label of the class is not known.
        without_positive: images that show no class.
        files: image files that were looked for; 0 for images made in memory.
        missing: those that are not there.
        unreadable: those that cannot be decoded, and why; a run would fail on them.
        skipped: those that cannot be decoded, and why, with `on_bad_image: skip`: their labels count as not annotated.
        sizes: int64 [R, 2], width and height of each image that was decoded.
        bytes: of all image files together.
        pictures: the images that were decoded.
        ignored: tag -> number of elements of VOC annotations that say nothing to clsim.
    """

    split: Split
    images: int
    positives: NDArray[np.int64]
    not_annotated: NDArray[np.int64]
    without_positive: int
    files: int = 0
    missing: tuple[Path, ...] = ()
    unreadable: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    sizes: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), dtype=np.int64))
    bytes: int = 0
    pictures: Pictures = field(default_factory=lambda: Pictures((), (), np.empty((0, 0), dtype=np.int8)))
    ignored: Mapping[str, int] = field(default_factory=dict)

    def summary(self, class_names: Sequence[str]) -> dict[str, Any]:
        """JSON-ready; `width` and `height` are [smallest, largest] in pixels, null if nothing was decoded."""
        columns = zip(class_names, self.positives.tolist(), self.not_annotated.tolist(), strict=True)
        ranges = [None, None] if not len(self.sizes) else [[int(s.min()), int(s.max())] for s in self.sizes.T]
        return {
            "images": self.images,
            "without_positive": self.without_positive,
            "classes": {name: {"positive": shown, "not_annotated": unknown} for name, shown, unknown in columns},
            "files": self.files,
            "missing": [str(file) for file in self.missing],
            "unreadable": list(self.unreadable),
            "skipped": list(self.skipped),
            "decoded": len(self.sizes),
            "width": ranges[0],
            "height": ranges[1],
            "bytes": self.bytes,
            "ignored": dict(self.ignored),
        }


def check_source(source: ImageSource, decode: bool = True) -> list[SplitCheck]:
    """Read all labels and, with `decode`, every image file.

    Missing and unreadable images are part of the answer; `first_problem` makes an error of them.

    Raises:
        ClsimError: labels that are missing or malformed; with the exact path.
    """
    return [_check_split(source, split, decode) for split in SPLITS]


def _check_split(source: ImageSource, split: Split, decode: bool) -> SplitCheck:
    disk = source if isinstance(source, ImageFiles) else None
    labels = disk.annotations(split) if disk else source.labels(split)
    files = disk.files(split) if disk else []
    missing = missing_files(files)
    gone = set(missing)
    there = [row for row, file in enumerate(files) if file not in gone]
    read = _read_all([files[row] for row in there], disk.window if disk else None) if decode else []
    found = dict(zip(there, read, strict=decode))
    decoded = {row: one for row, one in found.items() if isinstance(one, _Decoded)}
    skips = disk is not None and disk.skips_bad_images
    skipped = {row: str(one) for row, one in found.items() if skips and isinstance(one, BadImage)}
    labels = without(labels, np.array(list(skipped), dtype=np.int64))
    return SplitCheck(
        split=split,
        images=len(labels),
        positives=(labels == 1).sum(axis=0, dtype=np.int64),
        not_annotated=(labels == UNKNOWN).sum(axis=0, dtype=np.int64),
        without_positive=int((~(labels == 1).any(axis=1)).sum()),
        files=len(files),
        missing=tuple(missing),
        unreadable=(
            *(str(e) for row, e in found.items() if isinstance(e, ScenarioError) and row not in skipped),
            *(source.unreadable(split) if decode and isinstance(source, OwnItems) else ()),
        ),
        skipped=tuple(skipped.values()),
        sizes=np.array([one.size for one in decoded.values()], dtype=np.int64).reshape(-1, 2),
        pictures=Pictures(
            [str(files[row]) for row in decoded], [one.digest for one in decoded.values()], labels[list(decoded)]
        ),
        bytes=sum(files[row].stat().st_size for row in there),
        ignored=source.ignored(split) if isinstance(source, Voc) else {},
    )


class _Decoded(NamedTuple):
    """Width and height of an image in pixels, and a hash of what it shows."""

    size: tuple[int, int]
    digest: bytes


def _read_all(files: Sequence[Path], window: list[float] | None) -> list[_Decoded | ScenarioError]:
    """Decode each image, or say what is wrong with it."""
    with ThreadPoolExecutor(usable_cores()) as pool:
        return list(pool.map(partial(_decoded_or_problem, window=window), files))


def _decoded_or_problem(file: Path, window: list[float] | None) -> _Decoded | ScenarioError:
    try:
        image = read_image(file, window)
        return _Decoded(image.size, hashlib.sha256(f"{image.size}".encode() + image.tobytes()).digest())
    except ScenarioError as error:
        return error


def copies_of(checks: Sequence[SplitCheck]) -> Copies:
    """Return the images that are there more than once; without decoding none is known."""
    return find_copies({check.split: check.pictures for check in checks})


def first_problem(source: ImageSource, checks: Sequence[SplitCheck]) -> ClsimError | None:
    """The error that a run would meet: images that are missing (and what to download), or that cannot be decoded."""
    for check in checks:
        if check.missing and isinstance(source, ImageFiles):
            return source.missing_images(check.split, check.missing, check.files)
        if check.files and len(check.skipped) == check.files:
            return none_decoded(check.split, check.skipped)
    unreadable = [problem for check in checks for problem in check.unreadable]
    more = [f"and {len(unreadable) - MOST_SHOWN} more images"] if len(unreadable) > MOST_SHOWN else []
    return ScenarioError(unreadable[:MOST_SHOWN] + more) if unreadable else None
