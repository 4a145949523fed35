"""What every data set whose images are files on disk has in common: reading, checking and naming them."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clsim.data.cache import missing_files
from clsim.data.image_cache import Resize, cached_images
from clsim.data.source import Split
from clsim.errors import ClsimError


class ImageFiles(ABC):
    """The half of an `ImageSource` that is about images, for sources that know the file of each.

    Args:
        name: of the data set, part of its fingerprint.
        resize: how images become squares.
    """

    def __init__(self, name: str, resize: Resize) -> None:
        self._name = name
        self._resize = resize
        self._images: dict[tuple[Split, int], NDArray[np.uint8]] = {}

    @abstractmethod
    def files(self, split: Split) -> list[Path]:
        """Path of each image, in the order of `labels`; they need not exist."""

    @abstractmethod
    def images_folder(self) -> Path:
        """The folder that a copy of the data set has somewhere else."""

    @abstractmethod
    def missing_images(self, split: Split, missing: Sequence[Path], total: int) -> ClsimError:
        """What to say when some of the images of a split are not there."""

    def images(self, split: Split, size: int) -> NDArray[np.uint8]:
        """All images, uint8 [N, 3, size, size], RGB, 0..255; a read-only memory map of the image cache.

        Raises:
            ScenarioError: an image is missing or damaged, or the cache has no room.
        """
        if (split, size) not in self._images:
            self._images[split, size] = cached_images(self._checked(split), size, self._resize)
        return self._images[split, size]

    def check_size(self, size: int) -> None:
        """Raise ScenarioError unless every image file is there; any size will do."""
        for split in ("train", "test"):
            self._checked(split)

    def fingerprint(self) -> str:
        """SHA-256 of name and size of every image file, and of the resizing.

        DECIDED: without modification times, which differ between two copies of one download.
        """
        digest = hashlib.sha256(f"{self._name} {self._resize}".encode())
        folder = self.images_folder()
        for split in ("train", "test"):
            for file in self._checked(split):
                known_as = file.relative_to(folder) if file.is_relative_to(folder) else file
                digest.update(f"\n{known_as.as_posix()} {file.stat().st_size}".encode())
        return digest.hexdigest()

    def _checked(self, split: Split) -> list[Path]:
        files = self.files(split)
        if missing := missing_files(files):
            raise self.missing_images(split, missing, len(files))
        return files
