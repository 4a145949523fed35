"""Multi-label scenes of real handwritten digits: several small digits of different classes on a textured canvas.

Which classes a scene shows and where they stand is drawn first, with NumPy alone (`draw_scenes`); pixels come later
(`clsim.data.digits_render`). Scene i depends on the seed, the split, i and the parameters, never on how many scenes
there are: a longer split starts with the shorter one. Changing any parameter of this generator or of the renderer
changes what published numbers mean, and therefore bumps `GENERATOR_VERSION`.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, field_validator

from clsim.data.digits_render import INKS, render, source_images
from clsim.data.source import Split
from clsim.errors import ScenarioError, Unplannable, did_you_mean
from clsim.randomness import raw_integers, uniforms

GENERATOR_VERSION = 1

SMALLEST_IMAGE, LARGEST_IMAGE = 28, 64  # so that 8 x 8 sources are hardly shrunk, and not blown up beyond 4 times
MOST_LABELS = 5
CROWDING = "crowding"


class DigitsConfig(BaseModel, frozen=True, extra="forbid", strict=True):
    """Options of the data set `digits`."""

    name: Literal["digits"] = Field(description="scenes of handwritten digits, generated in memory; no download")
    train: int = Field(1200, ge=1, le=200_000, description="number of training scenes")
    test: int = Field(
        800, ge=1, le=200_000, description="number of test scenes; no handwritten source digit is in both splits"
    )
    categories: Literal[10, 20, 40, 80] = Field(
        10, description="number of classes: 10 = the digits in any ink; 20, 40, 80 = digit x 2, 4, 8 ink colours"
    )
    labels_per_scene: tuple[int, int] = Field(
        strict=False, default=(1, 4), description="[min, max] classes in one scene, uniformly drawn; within 1..5"
    )
    frequency: Literal["unequal", "uniform"] = Field(
        "unequal", description="unequal: the most frequent class has about six times the positives of the rarest"
    )
    cooccurrence: float = Field(
        0.5,
        ge=0.0,
        le=1.0,
        description="share of the further classes of a scene that are drawn from the partners of its present "
        "classes; 0: classes are independent",
    )
    seed: int = Field(0, description="seed of the scenes; another seed gives other scenes of the same distribution")

    @field_validator("labels_per_scene")
    @classmethod
    def _ordered(cls, value: tuple[int, int]) -> tuple[int, int]:
        if not 1 <= value[0] <= value[1] <= MOST_LABELS:
            raise ValueError(f"allowed is [min, max] with 1 <= min <= max <= {MOST_LABELS}")
        return value


class Scenes(NamedTuple):
    """What stands where in N scenes of up to K digits, independent of the image size."""

    classes: NDArray[np.int64]  # [N, K] column of the class; -1 = nothing in this slot
    boxes: NDArray[np.float64]  # [N, K, 3] left, top, side of the square patch, in units of the canvas, within 0..1
    picks: NDArray[np.uint64]  # [N, K] which source image of the digit, before reduction modulo their number


class Digits:
    """The data set `digits` as an `ImageSource`."""

    Options = DigitsConfig

    def __init__(self, config: DigitsConfig) -> None:
        self.config = config

    @property
    def class_names(self) -> tuple[str, ...]:
        """`0` .. `9`, or `red-0` .. `red-9`, `green-0` and so on: column = 10 * ink + digit."""
        if self.config.categories == 10:
            return tuple(str(digit) for digit in range(10))
        return tuple(f"{ink}-{digit}" for ink in list(INKS)[: self.config.categories // 10] for digit in range(10))

    def labels(self, split: Split) -> NDArray[np.int8]:
        """True labels, int8 [N, C], 1 present, 0 absent; read-only."""
        return _labels(self.config, split)

    def image_names(self, split: Split) -> list[str]:
        """The scenes' numbers, from 0."""
        return [str(number) for number in range(getattr(self.config, split))]

    def column(self, split: Split, name: str) -> list[str]:
        """Column `crowding`: how many digits a scene shows."""
        if name != CROWDING:
            text = f"digits: no column {name!r}{did_you_mean(name, [CROWDING])}; columns: {CROWDING}"
            raise Unplannable(("stream", "domains"), text)
        return [str(count) for count in (draw_scenes(self.config, split).classes >= 0).sum(axis=1).tolist()]

    def boxes(self, split: Split) -> NDArray[np.float64]:
        """Left, top, width and height in 0..1 of each class's digit, float64 [N, C, 4]; NaN where it is absent."""
        scenes = draw_scenes(self.config, split)
        boxes = np.full((*self.labels(split).shape, 4), np.nan)
        scene, slot = np.nonzero(scenes.classes >= 0)
        boxes[scene, scenes.classes[scene, slot]] = scenes.boxes[scene, slot][:, [0, 1, 2, 2]]
        return boxes

    def box_areas(self, split: Split) -> NDArray[np.float32]:
        """Area of each class's digit / that of the scene, float32 [N, C]; NaN where it is absent."""
        boxes = self.boxes(split)
        return (boxes[..., 2] * boxes[..., 3]).astype(np.float32)

    def images(self, split: Split, size: int) -> NDArray[np.uint8]:
        """All scenes, uint8 [N, 3, size, size], RGB, 0..255; read-only. `size` is within 28..64."""
        self.check_size(size)
        return _images(self.config, split, size)

    def check_size(self, size: int) -> None:
        """Raise ScenarioError unless `size` is within 28..64 pixels."""
        if not SMALLEST_IMAGE <= size <= LARGEST_IMAGE:
            raise ScenarioError(
                [f"digits: image size {size} is not allowed, only {SMALLEST_IMAGE}..{LARGEST_IMAGE} pixels"]
            )

    def fingerprint(self) -> str:
        """SHA-256 of the generator version, the options and the source digits; needs scikit-learn."""
        digest = hashlib.sha256(f"digits {GENERATOR_VERSION} {self.config.model_dump_json()}".encode())
        pixels, digits = source_images()
        digest.update(pixels.tobytes() + digits.astype(np.uint8).tobytes())
        return digest.hexdigest()


@lru_cache(maxsize=8)
def draw_scenes(config: DigitsConfig, split: Split) -> Scenes:
    """Classes, places and sources of all scenes of a split; arrays are read-only."""
    n, (fewest, most) = getattr(config, split), config.labels_per_scene

    columns = 1 + 2 * most
    u = uniforms(n * columns, config.seed, "digits", "classes", split).reshape(n, columns)
    counts = fewest + (u[:, 0] * (most - fewest + 1)).astype(np.int64)
    classes = _draw_classes(config, coins=u[:, 1 : 1 + most], u=u[:, 1 + most :])
    classes[np.arange(most) >= counts[:, None]] = -1

    boxes = _draw_boxes(config, split, n)
    picks = raw_integers(n * most, config.seed, "digits", "picks", split).reshape(n, most)
    scenes = Scenes(classes, boxes, picks)
    for array in scenes:
        array.flags.writeable = False
    return scenes


def class_weights(config: DigitsConfig) -> NDArray[np.int64]:
    """Relative frequency of each class when a scene is still empty, int64 [C]."""
    c = config.categories
    if config.frequency == "uniform":
        return np.ones(c, dtype=np.int64)
    # DECIDED: ranks are scattered by a step coprime to every C, so that neighbours in the alphabet, which usually
    # share a task, are not both common or both rare.
    rank = (7 * np.arange(c) + 3) % c
    # DECIDED: a square instead of Zipf's 1/rank, because a class stands in a scene at most once: under 1/rank the
    # commonest would fill most scenes. Squares give about 525 down to 90 positives in 1,200 scenes, in exact integers.
    return (7 * c - 5 * rank) ** 2


def partners(config: DigitsConfig) -> NDArray[np.bool_]:
    """Which pairs of classes attract each other, bool [C, C], symmetric, three partners per class."""
    c = config.categories
    distance = (np.arange(c)[None] - np.arange(c)[:, None]) % c
    return np.isin(distance, (3, c - 3, c // 2))


def _draw_classes(config: DigitsConfig, coins: NDArray[np.float64], u: NDArray[np.float64]) -> NDArray[np.int64]:
    """Different classes for every slot, int64 [N, K], from uniform `coins` and `u`, both [N, K]."""
    n, most = u.shape
    marginal = class_weights(config)
    attraction = np.where(partners(config), marginal, 0)
    absent = np.ones((n, config.categories), dtype=np.int64)
    affinity = np.zeros_like(absent)
    classes = np.empty((n, most), dtype=np.int64)
    for slot in range(most):
        affinity *= absent
        attracted = (coins[:, slot] < config.cooccurrence) & affinity.any(axis=1)
        cumulative = np.cumsum(np.where(attracted[:, None], affinity, marginal * absent), axis=1)
        classes[:, slot] = (cumulative > u[:, slot, None] * cumulative[:, -1:]).argmax(axis=1)
        absent[np.arange(n), classes[:, slot]] = 0
        affinity += attraction[classes[:, slot]]
    return classes


def _draw_boxes(config: DigitsConfig, split: Split, n: int) -> NDArray[np.float64]:
    """Square patches in different cells of a grid, float64 [N, K, 3] as in `Scenes.boxes`."""
    most = config.labels_per_scene[1]
    across, down = (2, 2) if most <= 4 else (3, 2)
    cell_order = raw_integers(n * across * down, config.seed, "digits", "cells", split).reshape(n, across * down)
    cells = np.argsort(cell_order, axis=1, kind="stable")[:, :most]
    u = uniforms(n * most * 3, config.seed, "digits", "boxes", split).reshape(n, most, 3)
    side = (0.85 + 0.15 * u[..., 2]) / across
    left = (cells % across) / across + u[..., 0] * (1.0 / across - side)
    top = (cells // across) / down + u[..., 1] * (1.0 / down - side)
    return np.stack([left, top, side], axis=-1)


@lru_cache(maxsize=8)
def _labels(config: DigitsConfig, split: Split) -> NDArray[np.int8]:
    classes = draw_scenes(config, split).classes
    labels = np.zeros((len(classes), config.categories), dtype=np.int8)
    scene, slot = np.nonzero(classes >= 0)
    labels[scene, classes[scene, slot]] = 1
    labels.flags.writeable = False
    return labels


@lru_cache(maxsize=4)  # an entry can hold a gigabyte
def _images(config: DigitsConfig, split: Split, size: int) -> NDArray[np.uint8]:
    scenes = draw_scenes(config, split)
    images = render(
        digits=np.where(scenes.classes < 0, -1, scenes.classes % 10),
        inks=None if config.categories == 10 else scenes.classes // 10,
        boxes=scenes.boxes,
        picks=scenes.picks,
        size=size,
        seed=config.seed,
        split=split,
    )
    images.flags.writeable = False
    return images
