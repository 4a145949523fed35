"""From stored pixels of any depth to 8 bits per channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import AfterValidator, Field

if TYPE_CHECKING:
    from PIL import Image

_BITS_PER_SAMPLE = 258
"""Tag of a TIFF file."""


def _rising(window: list[float]) -> list[float]:
    if not window[0] < window[1]:
        raise ValueError("allowed: [low, high] with low below high")
    return window


Window = Annotated[list[float], Field(min_length=2, max_length=2), AfterValidator(_rising)]
"""Stored values that become 0 and 255."""


def to_rgb(image: Image.Image, window: list[float] | None = None) -> Image.Image:
    """Convert an image to RGB of 8 bits per channel.

    Grey values of more than 8 bits are scaled: the range of the format, such as 0 to 65535 of a PNG file, or the
    window, becomes 0 to 255. Values outside the window become 0 or 255. Images of 8 bits stay as they are.

    Args:
        image: opened, perhaps not yet decoded.
        window: [low, high]; None: the range of the format.

    Raises:
        ValueError: without a window, the format has no defined range; with one, the image has colours of 16 bits.
    """
    if not (image.mode in ("I", "F") or image.mode.startswith("I;")):
        if window is not None and any(";16" in str(tile[3]) for tile in getattr(image, "tile", ())):
            raise ValueError("colours of more than 8 bits per channel; allowed with dataset.window: grey values")
        return image.convert("RGB")
    from PIL import Image

    low, high = window or _range(image)
    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("pixels that are no finite numbers")
    scaled = np.rint((np.clip(values, low, high) - low) * (255 / (high - low)))
    return Image.fromarray(scaled.astype(np.uint8)).convert("RGB")


def _range(image: Image.Image) -> tuple[float, float]:
    """Return the smallest and the largest value that the format of an image can store."""
    bits = 16 if image.mode.startswith("I;16") or image.format in ("PNG", "PPM") else 0
    if image.format == "TIFF" and bits:
        (bits,) = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (bits,))
    if image.mode == "F" or not bits:
        kind = "floating point" if image.mode == "F" else "32 bits or signed"
        raise ValueError(f"pixels of {kind} have no defined range; dataset.window: [low, high] gives one")
    return 0, 2**bits - 1
