"""What a model can be given to score, brought into batches of its network's input."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from clsim.cores import usable_cores
from clsim.data.folder import SUFFIXES
from clsim.errors import ClsimError
from clsim.inference.preprocess import Preprocess

IMAGES = (
    "expected paths, PIL images, uint8 images [N, 3, H, W] or [N, H, W, 3], normalised images float32 "
    "[N, 3, {size}, {size}], or a DataLoader of either"
)


class Inputs:
    """Pictures, tensors or a data loader as batches of the input of a network over images.

    Args:
        given: a path, a folder (all images below it), a PIL image, an array or tensor (uint8 pictures, or float32 that
            are normalised already), a list of such, or a DataLoader whose batches are or begin with such.
        preprocess: of the model.
        batch_size: images scored at a time; a DataLoader brings its own.

    Attributes:
        names: path of each image where all are given as paths; None otherwise.

    Raises:
        ClsimError: something else, or a path with nothing there.
    """

    def __init__(self, given: Any, preprocess: Preprocess, batch_size: int) -> None:
        self._preprocess = preprocess
        self._batch_size = batch_size
        if isinstance(given, str | Path | Image.Image):
            given = [given]
        if isinstance(given, Sequence) and given and all(isinstance(one, str | Path) for one in given):
            given = [str(path) for one in given for path in image_files(Path(one))]
        self.names = given if isinstance(given, list) and given and isinstance(given[0], str) else None
        self._given = given

    def __iter__(self) -> Iterator[Tensor]:
        """Yield batches float32 [B, 3, size, size]."""
        if isinstance(self._given, DataLoader):
            for batch in self._given:
                yield self._batch(batch if _pictures(batch) or not isinstance(batch, list | tuple) else batch[0])
        elif isinstance(self._given, np.ndarray | Tensor):
            whole = self._given if self._given.ndim == 4 else self._given[None]
            for start in range(0, len(whole), self._batch_size):
                yield self._batch(whole[start : start + self._batch_size])
        elif isinstance(self._given, Sequence):
            with ThreadPoolExecutor(usable_cores()) as pool:  # Pillow decodes outside the interpreter lock
                for start in range(0, len(self._given), self._batch_size):
                    yield self._of_items(self._given[start : start + self._batch_size], pool)
        else:
            raise self._refused(type(self._given).__name__)

    def _of_items(self, items: Sequence[Any], pool: ThreadPoolExecutor) -> Tensor:
        if all(isinstance(item, np.ndarray | Tensor) and "float" in str(item.dtype) for item in items):
            return torch.cat([self._batch(item[None]) for item in items])
        return self._preprocess.normalise(np.stack(list(pool.map(self._preprocess.pixels, items))))

    def _batch(self, batch: Any) -> Tensor:
        if _pictures(batch):
            return self._preprocess(*batch)
        if not isinstance(batch, np.ndarray | Tensor):
            raise self._refused(f"batches of {type(batch).__name__}")
        size = self._preprocess.size
        kind = str(batch.dtype).removeprefix("torch.")
        if batch.ndim == 4 and kind == "uint8":
            return self._preprocess(*(np.asarray(one) for one in batch))
        if "float" in kind and tuple(batch.shape[1:]) == (3, size, size):
            return torch.as_tensor(batch).float()
        raise self._refused(f"{kind} {list(batch.shape)}")

    def _refused(self, given: str) -> ClsimError:
        return ClsimError(f"images: given {given}, {IMAGES.format(size=self._preprocess.size)}")


def _pictures(given: Any) -> bool:
    """Tell paths and PIL images that are given together."""
    return isinstance(given, list | tuple) and all(isinstance(one, str | Path | Image.Image) for one in given)


def feature_batches(given: Any, width: int, batch_size: int) -> Iterator[Tensor]:
    """Yield features float32 [B, width] in batches, of an array or tensor [N, width] or a DataLoader of such.

    Raises:
        ClsimError: something else.
    """
    if isinstance(given, DataLoader):
        for batch in given:
            yield from feature_batches(batch[0] if isinstance(batch, list | tuple) else batch, width, len(batch))
        return
    kind = type(given).__name__
    if isinstance(given, np.ndarray | Tensor):
        kind = f"{str(given.dtype).removeprefix('torch.')} {list(given.shape)}"
        if given.ndim == 2 and given.shape[1] == width and "float" in kind:
            whole = torch.as_tensor(given).float()
            yield from whole.split(batch_size)
            return
    raise ClsimError(f"features: given {kind}, expected float [N, {width}]; this model was trained on feature vectors")


def image_files(path: Path) -> list[Path]:
    """Return a file itself, or all images below a folder, sorted.

    Raises:
        ClsimError: nothing is there, or a folder without an image.
    """
    if not os.path.isdir(path):
        if not os.path.exists(path):
            raise ClsimError(f"{path}: no such file or folder")
        return [path]
    found = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not found:
        raise ClsimError(f"{path}: no image in it; read are {', '.join(SUFFIXES)}")
    return found
