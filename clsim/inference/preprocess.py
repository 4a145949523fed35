"""From a picture to what a network sees, as the run that trained it did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from clsim.data.image_cache import Pixels, Resize, read_image, to_square
from clsim.data.pixel_depth import to_rgb
from clsim.errors import ClsimError
from clsim.scenario.stream.normalisation import Normalisation


@dataclass(frozen=True)
class Preprocess:
    """Size, resize rule and normalisation of a model's images; call it with one picture or several.

    Attributes:
        size: side of the square input in pixels.
        resize: squash scales the whole picture to a square, crop the square at its centre; bilinear, antialiased.
        window: grey values of more than 8 bits that become black and white; None: the range of the picture's format.
        mean, std: the input is (RGB in 0..1 - mean) / std, three numbers each.
    """

    size: int
    resize: Resize
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    window: list[float] | None = None

    def __call__(self, *pictures: Any) -> Tensor:
        """Return the network's input, float32 [B, 3, size, size], of B pictures; see `pixels`."""
        return self.normalise(np.stack([self.pixels(picture) for picture in pictures]))

    def pixels(self, picture: Any) -> Pixels:
        """Return a picture at the model's size, uint8 [3, size, size], RGB.

        Args:
            picture: a path, a PIL image, or an array or tensor uint8 [3, H, W] or [H, W, 3], RGB.

        Raises:
            ClsimError: something else, or a file that cannot be decoded.
        """
        if isinstance(picture, str | Path):
            return to_square(read_image(Path(picture), self.window), self.size, self.resize)
        if isinstance(picture, Image.Image):
            try:
                return to_square(to_rgb(picture, self.window), self.size, self.resize)
            except ValueError as error:
                raise ClsimError(f"image: {error}") from None
        array = _channels_first(np.asarray(picture))
        if array.shape[1:] == (self.size, self.size):
            return array
        return to_square(Image.fromarray(array.transpose(1, 2, 0)), self.size, self.resize)

    def normalise(self, pixels: Pixels) -> Tensor:
        """Return the network's input, float32 [B, 3, size, size], of uint8 [B, 3, size, size]."""
        return Normalisation(self.mean, self.std).of_bytes(torch.from_numpy(np.ascontiguousarray(pixels)))

    def content(self) -> dict[str, Any]:
        """Return the attributes as plain values, as exported models hold them."""
        window = {} if self.window is None else {"window": self.window}
        return {"size": self.size, "resize": self.resize, "mean": list(self.mean), "std": list(self.std), **window}

    @classmethod
    def of(
        cls,
        size: int,
        resize: Resize,
        mean: Sequence[float],
        std: Sequence[float],
        window: list[float] | None = None,
    ) -> Preprocess:
        """Return the preprocessing of plain values, such as those of `content`."""
        return cls(size, resize, (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]), window)


def _channels_first(array: Any) -> Pixels:
    if array.dtype != np.uint8 or array.ndim != 3 or 3 not in (array.shape[0], array.shape[2]) or not array.size:
        raise ClsimError(
            f"image: given {array.dtype} {list(array.shape)}, expected a path, a PIL image, or uint8 [3, H, W] or "
            "[H, W, 3]"
        )
    found: Pixels = array if array.shape[0] == 3 else array.transpose(2, 0, 1)
    return np.ascontiguousarray(found)
