"""Pixels of the digit scenes: scikit-learn's 8 x 8 digits, enlarged and inked onto a textured canvas.

Everything is elementwise IEEE arithmetic over a block of scenes: no BLAS, no transcendental function, no thread order.
Blocks bound the memory; each draws from its own key, so that a scene depends on its position only.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from clsim.data.source import Split
from clsim.preparation import tell
from clsim.randomness import permutation, raw_integers, uniforms

Floats = NDArray[np.float32]

# Hue in turns and saturation of each ink. The first 2, 4 or 8 are used; each half is as distinct as it can be.
INKS = {
    "red": (0.0, 0.85),
    "green": (0.34, 0.85),
    "blue": (0.64, 0.75),
    "yellow": (0.165, 0.85),
    "cyan": (0.5, 0.85),
    "magenta": (0.84, 0.75),
    "orange": (0.085, 0.9),
    "white": (0.0, 0.05),
}
BLOCK = 256  # scenes per block; part of the keys, hence of the generator
TEXTURE_NODES = 5  # the texture is bilinear between 5 x 5 coloured nodes
TRAIN_SHARE = 0.6  # of the source images of each digit


@lru_cache(maxsize=1)
def source_images() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """scikit-learn's handwritten digits: uint8 [1797, 8, 8] with ink 0..16, and the digit of each, int64 [1797]."""
    from sklearn.datasets import load_digits  # here, because plans need labels only and must stay cheap

    bunch = load_digits()
    return bunch.images.astype(np.uint8), bunch.target.astype(np.int64)


def source_pool(seed: int, split: Split, digit: int) -> NDArray[np.int64]:
    """Indices into `source_images` of one digit that a split may use; train and test are disjoint."""
    indices = np.flatnonzero(source_images()[1] == digit)
    indices = indices[permutation(len(indices), seed, "digits", "sources", digit)]
    cut = int(TRAIN_SHARE * len(indices))
    return indices[:cut] if split == "train" else indices[cut:]


def choose_sources(digits: NDArray[np.int64], picks: NDArray[np.uint64], seed: int, split: Split) -> NDArray[np.int64]:
    """Index into `source_images` of every slot, int64 [N, K]; -1 where `digits` is -1."""
    sources = np.full(digits.shape, -1, dtype=np.int64)
    for digit in range(10):
        pool, here = source_pool(seed, split, digit), digits == digit
        sources[here] = pool[picks[here] % np.uint64(len(pool))]
    return sources


def render(
    *,
    digits: NDArray[np.int64],
    inks: NDArray[np.int64] | None,
    boxes: NDArray[np.float64],
    picks: NDArray[np.uint64],
    size: int,
    seed: int,
    split: Split,
) -> NDArray[np.uint8]:
    """Images, uint8 [N, 3, size, size], RGB.

    `digits` [N, K] in 0..9, -1 = empty slot; `inks` [N, K] positions in `INKS`, None = any colour;
    `boxes` [N, K, 3] left, top, side in 0..1 and `picks` [N, K] as in `clsim.data.digits.Scenes`.
    """
    sources = choose_sources(digits, picks, seed, split)
    images = np.empty((len(digits), 3, size, size), dtype=np.uint8)
    for block, start in enumerate(range(0, len(digits), BLOCK)):
        tell("rendering", start, len(digits))
        rows = slice(start, start + BLOCK)
        n, slots = digits[rows].shape
        canvas = _textures(n, size, seed, split, block)
        colours = _ink_colours(None if inks is None else inks[rows], n, slots, seed, split, block)
        for slot in range(slots):
            shown = np.flatnonzero(digits[rows, slot] >= 0)
            alpha = _enlarge(sources[rows][shown, slot], boxes[rows][shown, slot], size)[:, None]
            canvas[shown] += alpha * (colours[shown, slot, :, None, None] - canvas[shown])
        canvas += _noise(n, size, seed, split, block)
        images[rows] = np.clip(canvas * np.float32(255) + np.float32(0.5), 0, 255).astype(np.uint8)
    return images


def _textures(n: int, size: int, seed: int, split: Split, block: int) -> Floats:
    """Dark, coloured, low-frequency backgrounds, float32 [n, 3, size, size]."""
    per_scene = 3 + 3 * TEXTURE_NODES**2
    u = uniforms(n * per_scene, seed, "digits", "texture", split, block).reshape(n, per_scene).astype(np.float32)
    mean = np.float32(0.1) + np.float32(0.2) * u[:, :3, None, None]
    nodes = mean + np.float32(0.20) * (u[:, 3:].reshape(n, 3, TEXTURE_NODES, TEXTURE_NODES) - np.float32(0.5))
    at = np.arange(size, dtype=np.float32) * np.float32((TEXTURE_NODES - 1) / (size - 1))
    low = np.minimum(at.astype(np.int64), TEXTURE_NODES - 2)
    share = at - low.astype(np.float32)
    lines = nodes[:, :, low] + share[:, None] * (nodes[:, :, low + 1] - nodes[:, :, low])
    return lines[..., low] + share * (lines[..., low + 1] - lines[..., low])


def _noise(n: int, size: int, seed: int, split: Split, block: int) -> Floats:
    """Independent uniform noise per pixel and channel, float32 [n, 3, size, size]."""
    values = n * 3 * size * size
    raw = raw_integers(-(-values // 8), seed, "digits", "noise", split, block)
    flat = raw.astype("<u8").view(np.uint8)[:values].astype(np.float32)
    return ((flat - np.float32(127.5)) * np.float32(0.1 / 255)).reshape(n, 3, size, size)


def _ink_colours(inks: NDArray[np.int64] | None, n: int, slots: int, seed: int, split: Split, block: int) -> Floats:
    """RGB of every slot, float32 [n, slots, 3] in 0..1: bright, because the textures are dark."""
    u = uniforms(n * slots * 3, seed, "digits", "ink", split, block).reshape(n, slots, 3).astype(np.float32)
    if inks is None:
        hue, saturation = u[..., 0], np.float32(0.7) * u[..., 1]
    else:
        named = np.array(list(INKS.values()), dtype=np.float32)[inks]
        hue = named[..., 0] + np.float32(0.036) * (u[..., 0] - np.float32(0.5))
        saturation = named[..., 1] + np.float32(0.1) * (u[..., 1] - np.float32(0.5))
    value = np.float32(0.75) + np.float32(0.25) * u[..., 2]
    # HSV to RGB: each channel is full within a sixth of a turn of its own hue and falls linearly to 0 at a third.
    centre = np.array([0.0, 1 / 3, 2 / 3], dtype=np.float32)
    away = np.abs((hue[..., None] - centre + np.float32(0.5)) % np.float32(1) - np.float32(0.5))
    pure = np.clip(np.float32(2) - np.float32(6) * away, 0, 1)
    return value[..., None] * (1 - saturation[..., None] * (1 - pure))


def _enlarge(sources: NDArray[np.int64], boxes: NDArray[np.float64], size: int) -> Floats:
    """Ink coverage of one digit per canvas, float32 [m, size, size] in 0..1, bilinear, exactly 0 outside its box."""
    # A rim of zeros around the 8 x 8 pixels: the box spans rim to rim, so no stroke is cut at its edge.
    glyphs = np.pad(source_images()[0], ((0, 0), (1, 1), (1, 1)))[sources].astype(np.float32) / np.float32(16)
    centres = (np.arange(size) + 0.5) / size
    left, top, side = (boxes[:, i, None] for i in range(3))
    x = np.clip((centres - left) / side * 9, 0, 9).astype(np.float32)
    y = np.clip((centres - top) / side * 9, 0, 9).astype(np.float32)
    x_low, y_low = (np.minimum(at.astype(np.int64), 8) for at in (x, y))
    scene = np.arange(len(sources))[:, None]
    upper, lower = glyphs[scene, y_low], glyphs[scene, y_low + 1]
    lines = upper + (y - y_low.astype(np.float32))[..., None] * (lower - upper)  # [m, size, 10]
    before, after = (np.take_along_axis(lines, (x_low + step)[:, None], axis=2) for step in (0, 1))
    coverage = before + (x - x_low.astype(np.float32))[:, None] * (after - before)
    return np.clip(np.float32(1.4) * coverage - np.float32(0.15), 0, 1)  # undoes part of the blur of enlarging
