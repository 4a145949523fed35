"""Random changes of training batches, `training.augmentation`.

A batch is changed as a whole, on the device it is on, each image with numbers of its own. These are derived from the
run's seed, the option, task, epoch, step and the image's place in the batch, and counted apart for new and for replayed
rows. So nothing that ran before changes them, no strategy and no other option; two methods meet the same changed new
rows, and a run goes on in the middle of an epoch as if nothing had happened.

Only what a training step is made of is changed: the template calls this once a step, when the batch is complete, and
student and teacher see the same result. Scores, thresholds, relabelling, herding and features are of images as they
are.

DECIDED: the order of the options is crop, flip, colour, cutout, RandAugment; the code of the KRT family has its square
cut out before RandAugment, too, and knows none of the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clsim.randomness import uniforms
from clsim.scenario.schema import AugmentationSection, ColourSection, RandomResizedCropSection, TrainingSection
from clsim.scenario.stream import Normalisation
from clsim.training import image_operations as image
from clsim.training.randaugment import RandAugment

Uniforms = NDArray[np.float64]

SLICE_BYTES = 1_000_000
"""On a CPU a batch is worked on in slices of this size: larger ones leave the caches and cost several times as much."""
CROP_TRIES = 10


class Step(Protocol):
    """One option at work: images float32 [B, 3, H, W], 0..255, and uniform numbers [B, numbers] -> changed images.

    Attributes:
        name: what the numbers are derived from.
        numbers: how many an image needs.
    """

    @property
    def name(self) -> str: ...

    @property
    def numbers(self) -> int: ...

    def __call__(self, x: Tensor, u: Uniforms) -> Tensor: ...


class Augmentation:
    """What `training.augmentation` says, for the batches of one run.

    Args:
        config: the scenario's training section.
        seed: the run's seed.
        device: where batches are.
    """

    def __init__(self, config: TrainingSection, seed: int, device: torch.device | str) -> None:
        self.steps: list[Step] = [] if config.augmentation == "none" else _steps(config.augmentation)
        self.seed = seed
        self.normalisation = Normalisation(config.model.mean, config.model.std, device)

    def __call__(self, x: Tensor, own: int, task: int, epoch: int, step: int) -> Tensor:
        """Change a batch.

        Args:
            x: normalised images, float32 [B, 3, H, W]; overwritten.
            own: the first so many are the task's own rows, the others are replayed.
            task, epoch, step: position of the run.

        Returns:
            x. Pixels that no option changes keep their value to the last bit.
        """
        if self.steps:
            at = (task, epoch, step)
            self._change(x[:own], "new", *at)
            self._change(x[own:], "replayed", *at)
        return x

    def _change(self, x: Tensor, *purpose: str | int) -> None:
        drawn = [self._numbers(step, len(x), *purpose) for step in self.steps]
        for rows in _slices(x):
            images = self.normalisation.undo_(x[rows])
            for step, u in zip(self.steps, drawn, strict=True):
                images = step(images, u[rows])
            x[rows] = self.normalisation.apply_(images)

    def _numbers(self, step: Step, rows: int, *purpose: str | int) -> Uniforms:
        """Uniform numbers of each row, [rows, step.numbers]; those of a row do not depend on how many rows follow."""
        drawn = uniforms(rows * step.numbers, self.seed, "augmentation", step.name, *purpose)
        return drawn.reshape(rows, step.numbers)


def _steps(section: AugmentationSection) -> list[Step]:
    steps: list[Step] = []
    if section.random_resized_crop is not None:
        steps.append(Crop(section.random_resized_crop))
    if section.flip:
        steps.append(Flip(section.flip))
    if section.colour is not None:
        steps.append(Colour(section.colour))
    if section.cutout:
        steps.append(Cutout(section.cutout))
    if section.randaugment is not None:
        steps.append(RandAugment(section.randaugment))
    return steps


def _slices(x: Tensor) -> Iterator[slice]:
    """Rows to be worked on together. They depend on the part of the batch alone, as the last bits of sums might."""
    rows = len(x)
    if x.device.type == "cpu" and rows:
        rows = max(1, SLICE_BYTES // (x[0].numel() * x.element_size()))
    for start in range(0, len(x), max(1, rows)):
        yield slice(start, start + rows)


@dataclass(frozen=True)
class Crop:
    """`random_resized_crop`. Cached images have the size of the input, so that crops are enlarged."""

    section: RandomResizedCropSection
    name = "random_resized_crop"
    numbers = 2 * CROP_TRIES + 2

    def __call__(self, x: Tensor, u: Uniforms) -> Tensor:
        size = x.shape[-1]
        boxes = crop_boxes(u, size, self.section)
        smaller = np.minimum(boxes[:, 2], boxes[:, 3]) < size
        return image.on_rows(x, smaller, image.resized_crop, boxes)


def crop_boxes(u: Uniforms, size: int, section: RandomResizedCropSection) -> NDArray[np.int64]:
    """Crops of square images of `size` pixels, int [B, 4]: top, left, height, width.

    As torchvision draws them: the area uniform, the ratio uniform in its logarithm, up to ten times until the crop fits
    into the image, then the largest centred one of an allowed ratio.

    Args:
        u: uniform numbers [B, 22].
    """
    tries = u[:, : 2 * CROP_TRIES].reshape(-1, CROP_TRIES, 2)
    (smallest, largest), (narrowest, widest) = section.scale, section.ratio
    areas = size**2 * _between(smallest, largest, tries[..., 0])
    ratios = np.exp(_between(math.log(narrowest), math.log(widest), tries[..., 1]))
    sides = np.rint(np.sqrt(np.stack([areas / ratios, areas * ratios], axis=-1))).astype(np.int64)  # [B, tries, 2]
    fits = np.logical_and.reduce((sides > 0) & (sides <= size), axis=-1)
    boxes = np.empty((len(u), 4), dtype=np.int64)
    boxes[:, 2:] = sides[np.arange(len(u)), fits.argmax(axis=1)]
    boxes[:, :2] = u[:, -2:] * (size - boxes[:, 2:] + 1)
    closest = min(max(1.0, narrowest), widest)
    fallback = np.rint([size / max(closest, 1), size * min(closest, 1)]).astype(np.int64)
    boxes[~fits.any(axis=1)] = [*((size - fallback) // 2), *fallback]
    return boxes


@dataclass(frozen=True)
class Flip:
    """`flip`."""

    probability: float
    name = "flip"
    numbers = 1

    def __call__(self, x: Tensor, u: Uniforms) -> Tensor:
        return image.on_rows(x, u[:, 0] < self.probability, lambda images: images.flip(-1))


@dataclass(frozen=True)
class Colour:
    """`colour`.

    DECIDED: brightness, contrast, saturation, hue always in this order, where torchvision shuffles it for each image:
    so the batch stays whole.
    """

    section: ColourSection
    name = "colour"
    numbers = 4

    def __call__(self, x: Tensor, u: Uniforms) -> Tensor:
        section = self.section
        strengths = (section.brightness, section.contrast, section.saturation)
        operations = (image.brightness, image.contrast, image.saturation)
        for column, (strength, operation) in enumerate(zip(strengths, operations, strict=True)):
            if strength:
                x = operation(x, jitter(u[:, column], strength))
        return image.hue(x, _between(-section.hue, section.hue, u[:, 3])) if section.hue else x


def jitter(u: Uniforms, strength: float) -> Uniforms:
    """Factors between 1 - strength, but not below 0, and 1 + strength, [B]."""
    return _between(max(0.0, 1 - strength), 1 + strength, u)


@dataclass(frozen=True)
class Cutout:
    """`cutout`: one square in each image, its centre anywhere in the image (DeVries and Taylor, arXiv 1708.04552).

    The KRT family has it from ASL (Ridnik et al., ICCV 2021): side 0.5, one random colour instead of the mean.
    """

    share: float
    name = "cutout"
    numbers = 5

    def __call__(self, x: Tensor, u: Uniforms) -> Tensor:
        centres = np.floor(u[:, :2] * x.shape[-1]).astype(np.int64)
        sides = np.full(len(x), int(self.share * x.shape[-1] + 0.5))
        return image.cutout(x, centres, sides, np.floor(256 * u[:, 2:]))


def _between(least: float, most: float, u: Uniforms) -> Uniforms:
    return least + (most - least) * u
