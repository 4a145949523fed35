"""What every data set whose images are files on disk has in common: reading, checking and naming them."""

from __future__ import annotations

import hashlib
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from clsim.cores import usable_cores
from clsim.data.cache import missing_files
from clsim.data.image_cache import (
    BadImage,
    Pixels,
    Resize,
    cached_images,
    decode_row,
    image_contents,
    read_image,
)
from clsim.data.image_stream import StreamedImages
from clsim.data.label_cache import cached_labels
from clsim.data.pixel_depth import Window
from clsim.data.source import ImageArray, ImageSource, Split
from clsim.errors import ClsimError, ScenarioError, did_you_mean
from clsim.preparation import counted
from clsim.vocabulary import UNKNOWN

SPLITS: tuple[Split, ...] = ("train", "test")
READING = 2
"""Part of the identity of a cached reading; a change of `bad_rows` that changes its answer bumps it."""

log = logging.getLogger("clsim")


class ImageFilesConfig(BaseModel, frozen=True, extra="forbid", strict=True):
    """Options of every data set whose images are files."""

    name: str
    resize: Resize = Field(
        "squash", description="squash: resize to a square; crop: resize the shorter side, then cut out the centre"
    )
    window: Window | None = Field(
        None,
        description="[low, high]: grey values that become black and white in images of more than 8 bits, such as "
        "[0, 4095]; default: the range of the format, such as [0, 65535]",
    )
    on_bad_image: Literal["error", "skip"] = Field(
        "error",
        description="an image that cannot be decoded: error ends the run; skip treats all its labels as unknown, "
        "and reads all images before the plan is made",
    )
    images: Literal["cache", "stream"] = Field(
        "cache",
        description="cache: decode images once into $CLSIM_CACHE; stream: decode them each time, for data whose "
        "cache would not fit on the disk",
    )
    workers: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        "auto", description="threads that decode images; auto: one per core"
    )


class ImageFiles(ABC):
    """The half of an `ImageSource` that is about images, for sources that know the file of each."""

    def __init__(self, options: ImageFilesConfig) -> None:
        self._options = options
        self._images: dict[tuple[Split, int], ImageArray] = {}
        self._labels: dict[Split, NDArray[np.int8]] = {}
        self._bad: dict[Split, NDArray[np.int64]] = {}
        self._path_texts: dict[Split, list[str]] = {}

    @abstractmethod
    def annotations(self, split: Split) -> NDArray[np.int8]:
        """True labels as annotated, whatever the images are, int8 [N, C]: 1 present, 0 absent, -1 not annotated."""

    @abstractmethod
    def files(self, split: Split) -> list[Path]:
        """Path of each image, in the order of `labels`; they need not exist."""

    @abstractmethod
    def images_folder(self) -> Path:
        """The folder that a copy of the data set has somewhere else."""

    @abstractmethod
    def missing_images(self, split: Split, missing: Sequence[Path], total: int) -> ClsimError:
        """What to say when some of the images of a split are not there."""

    @property
    def skips_bad_images(self) -> bool:
        """Whether an image that cannot be decoded is left out; otherwise it is an error."""
        return self._options.on_bad_image == "skip"

    def labels(self, split: Split) -> NDArray[np.int8]:
        """True labels, int8 [N, C]: 1 present, 0 absent, -1 not annotated; read-only.

        With `on_bad_image: skip` all labels of an image that cannot be decoded are -1, so that it comes into no task
        and no metric.

        Raises:
            ClsimError: labels are missing or malformed; with skip also: an image is missing, or none can be decoded.
        """
        if split not in self._labels:
            self._labels[split] = without(self.annotations(split), self.bad_images(split))
        return self._labels[split]

    def bad_images(self, split: Split) -> NDArray[np.int64]:
        """Rows of the images that are left out because they cannot be decoded, int64 [B], ascending.

        Empty unless `on_bad_image: skip`. All images are read once; the answer lasts as long as the files stay as they
        are. DECIDED: it also depends on the version of Pillow, which decides what can be decoded.

        Raises:
            ScenarioError: an image is missing or the disk fails; or none can be decoded.
        """
        if split not in self._bad:
            self._bad[split] = self._read_once(split) if self.skips_bad_images else np.empty(0, dtype=np.int64)
        return self._bad[split]

    def image_names(self, split: Split) -> list[str]:
        """The id of each image, in the order of `labels`: its path, relative if it is below `images_folder`."""
        folder, files = self.images_folder(), self.files(split)
        return [(file.relative_to(folder) if file.is_relative_to(folder) else file).as_posix() for file in files]

    def images(self, split: Split, size: int) -> ImageArray:
        """All images, uint8 [N, 3, size, size], RGB, 0..255, zeros for one that is left out.

        A read-only memory map of the image cache; with `images: stream` what decodes each image as it is asked for.

        Raises:
            ScenarioError: an image is missing or damaged, or the cache has no room.
        """
        if (split, size) not in self._images:
            options, bad = self._options, frozenset(self.bad_images(split).tolist())
            how = size, options.resize, bad, self._workers, options.window
            if options.images == "stream":
                self._images[split, size] = StreamedImages(self._existing_files(split), *how)
            else:
                with self._missing_named(split):
                    self._images[split, size] = cached_images(self._paths(split), *how)
        return self._images[split, size]

    def few_images(self, split: Split, rows: NDArray[np.int64], size: int) -> Pixels:
        """As `images` of some rows, uint8 [n, 3, size, size], read from their files: no other one is decoded."""
        files, bad = self._paths(split), frozenset(self.bad_images(split).tolist())
        options = self._options
        decoded = [decode_row(files, row, size, options.resize, bad, options.window) for row in rows.tolist()]
        return np.stack(decoded) if decoded else np.empty((0, 3, size, size), dtype=np.uint8)

    def check_size(self, size: int) -> None:
        """Raise ScenarioError unless every image file is there; any size will do."""
        for split in SPLITS:
            self._existing_files(split)

    def fingerprint(self) -> str:
        """Return the SHA-256 of the content of every image file, of resizing and window, and of what is left out.

        DECIDED: without names and times, which may differ between two copies of the same images.

        Raises:
            ScenarioError: an image is missing or cannot be read.
        """
        digest = hashlib.sha256(self._options.resize.encode())
        if self.window is not None:
            digest.update(f" window {self.window}".encode())
        for split in SPLITS:
            files = self._paths(split)
            with self._missing_named(split):
                digest.update(f"\n{split} {len(files)} ".encode() + image_contents(files))
        for split in SPLITS:
            if len(bad := self.bad_images(split)):
                digest.update(f"\n{split} without {bad.tolist()}".encode())
        return digest.hexdigest()

    @property
    def window(self) -> list[float] | None:
        """The option `window`."""
        return self._options.window

    @property
    def _workers(self) -> int:
        return usable_cores() if self._options.workers == "auto" else self._options.workers

    def _paths(self, split: Split) -> list[str]:
        """Return `files`, listed once, as texts, which take a third of the memory."""
        if split not in self._path_texts:
            self._path_texts[split] = list(map(os.fspath, self.files(split)))
        return self._path_texts[split]

    @contextmanager
    def _missing_named(self, split: Split) -> Iterator[None]:
        """Say of a failure by missing files which and how many they are; a look at each beforehand would cost more."""
        try:
            yield
        except ScenarioError:
            self._existing_files(split)
            raise

    def _existing_files(self, split: Split) -> list[Path]:
        files = self.files(split)
        if missing := missing_files(files):
            raise self.missing_images(split, missing, len(files))
        return files

    def _read_once(self, split: Split) -> NDArray[np.int64]:
        import PIL

        files = self._existing_files(split)
        which = hashlib.sha256("\n".join(map(str, files)).encode(errors="surrogateescape")).hexdigest()
        identity = ("bad images", READING, PIL.__version__, which, self.window)
        arrays = cached_labels(identity, files, lambda: {"rows": bad_rows(files, self._workers, self.window)})
        rows: NDArray[np.int64] = arrays["rows"]
        if len(rows) == len(files):
            raise none_decoded(split, files)
        return rows


def bad_rows(files: Sequence[Path], workers: int, window: list[float] | None = None) -> NDArray[np.int64]:
    """Rows of the images that cannot be decoded, int64, ascending; reads all of them as the image cache does.

    Raises:
        ScenarioError: a file cannot be read, which says nothing about the image in it.
    """

    def is_bad(file: Path) -> bool:
        try:
            read_image(file, window)
        except BadImage:
            return True
        return False

    log.info("reading %d images, once, to see which cannot be decoded", len(files))
    with ThreadPoolExecutor(workers) as pool:
        bad = counted("reading", pool.map(is_bad, files), len(files))
        return np.flatnonzero(np.fromiter(bad, dtype=bool, count=len(files))).astype(np.int64)


def none_decoded(split: Split, images: Sequence[object]) -> ScenarioError:
    """What to say when nothing is left of a split; each of `images` names one."""
    return ScenarioError([f"none of the {len(images)} images of {split} can be decoded, the first is {images[0]}"])


def without(labels: NDArray[np.int8], rows: NDArray[np.int64]) -> NDArray[np.int8]:
    """The labels with all entries of some rows unknown, int8 [N, C]; read-only where anything has changed."""
    if not len(rows):
        return labels
    changed = labels.copy()
    changed[rows] = UNKNOWN
    changed.flags.writeable = False
    return changed


def skipped_images(source: ImageSource) -> dict[Split, list[Path]]:
    """The files of each split that are left out because they cannot be decoded; none for images made in memory."""
    if not isinstance(source, ImageFiles):
        return {split: [] for split in SPLITS}
    found: dict[Split, list[Path]] = {}
    for split in SPLITS:
        bad = source.bad_images(split).tolist()
        files = source.files(split) if bad else []
        found[split] = [files[row] for row in bad]
    return found


def nearest_file(file: Path, capitals_only: bool = False) -> str:
    """Return a hint at the file in the same folder that was perhaps meant: first one with other capitals.

    Args:
        capitals_only: no other one, as where names are numbers and have near ones of other images.
    """
    names = sorted(os.listdir(file.parent)) if os.path.isdir(file.parent) else []
    same = [name for name in names if name.casefold() == file.name.casefold()]
    return f", did you mean {same[0]!r}?" if same else "" if capitals_only else did_you_mean(file.name, names)


def few_images(source: ImageSource, split: Split, rows: NDArray[np.int64], size: int) -> Pixels:
    """Images of some rows, int64 [n], as uint8 [n, 3, size, size], without decoding a whole data set for them."""
    if isinstance(source, ImageFiles):
        return source.few_images(split, rows, size)
    images: Pixels = source.images(split, size)[rows]
    return images
