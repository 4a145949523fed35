"""Random changes of training batches, `training.augmentation`.

A batch is changed as a whole, on the device it is on, each image with numbers of its own. These are derived from the
run's seed, the option, task, epoch, step and the image's place in the batch, and counted apart for new and for replayed
rows. So nothing that ran before changes them, no strategy and no other option; two methods meet the same changed new
rows, and a run goes on in the middle of an epoch as if nothing had happened.

Only what a training step is made of is changed, as it comes into the batch, so that plugins, student and teacher see
the same result. Scores, thresholds, relabelling, herding and features are of images as they are.

An augmentation of the user's (`name`) comes first. It draws from the global generators of Python, NumPy and torch,
which are seeded for it from the same derivation and then put back: of a transform of torchvision for every image anew,
of another callable once for the new and once for the replayed rows of a batch. So a run resumes exactly with both, and
replay changes nothing for new rows; but what another callable does to a replayed row may depend on the rows beside it.

DECIDED: the order of the options is crop, flip, colour, cutout, RandAugment; the code of the KRT family has its square
cut out before RandAugment, too, and knows none of the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clsim.errors import RunError
from clsim.global_generators import drawn_from
from clsim.parts import made
from clsim.randomness import derive_seed, uniforms
from clsim.scenario.stream.batch_memory import empty_batch
from clsim.scenario.stream.normalisation import Normalisation, slices
from clsim.scenario.training_schema import AugmentationSection, ColourSection, RandomResizedCropSection, TrainingSection
from clsim.training.augmentation import image_operations as image
from clsim.training.augmentation.randaugment import RandAugment

Uniforms = NDArray[np.float64]

CROP_TRIES = 10


class Step(Protocol):
    """One option at work.

    Attributes:
        name: what its numbers are derived from.
        numbers: how many of them an image needs.
    """

    @property
    def name(self) -> str: ...

    @property
    def numbers(self) -> int: ...

    def parameters(self, u: Uniforms, size: int) -> tuple[NDArray[Any], ...]:
        """What to do with each image of `size` pixels, arrays [B, ...], from uniform numbers [B, numbers]."""

    def __call__(self, x: Tensor, *parameters: Any) -> Tensor:
        """Images float32 [B, 3, H, W], 0..255, which may be overwritten, changed by their parameters."""


class Augmentation:
    """Makes of stored images what is trained on, as `training.augmentation` says, for the batches of one run.

    Args:
        config: the scenario's training section.
        seed: the run's seed.
    """

    def __init__(self, config: TrainingSection, seed: int) -> None:
        self.steps: list[Step] = [] if config.augmentation == "none" else _steps(config.augmentation)
        self.own = None if config.augmentation == "none" else own_augmentation(config.augmentation)
        self.seed = seed
        self.normalisation = Normalisation(config.model.mean, config.model.std)

    def __call__(self, x: Tensor, origin: str, task: int, epoch: int, step: int, before: int = 0) -> Tensor:
        """Change images and normalise them.

        Args:
            x: uint8 [B, 3, H, W], or float32 and normalised, which are brought back to 8 bits first; or, where nothing
                is to change, features float32 [B, d]. Left as it is.
            origin: new, the task's own rows; replayed; or the name of a pass over rows outside of a batch.
            task, epoch, step: position of the run.
            before: images of that origin that the batch has already.

        Returns:
            Normalised images, float32 [B, 3, H, W], on x's device. Pixels that no option changes are as a store
            normalises them, to the last bit.
        """
        normalised = x.is_floating_point()
        at = (origin, task, epoch, step)
        if self.own is not None:
            x = self.normalisation.undo_(x.clone()).clamp_(0, 255).to(torch.uint8) if normalised else x
            x, normalised = self.own(x, before, self.seed, *at), False
        if not self.steps:
            return x if normalised else self.normalisation.of_bytes(x)
        drawn = [each.parameters(self._numbers(each, before, len(x), at), x.shape[-1]) for each in self.steps]
        changed = empty_batch(x.shape, x.device)
        for rows in slices(changed):
            images = changed[rows].copy_(x[rows])
            if normalised:
                self.normalisation.undo_(images)
            for change, parameters in zip(self.steps, drawn, strict=True):
                images = change(images, *(values[rows] for values in parameters))
            self.normalisation.apply_(images, out=changed[rows])
        return changed

    def _numbers(self, step: Step, before: int, rows: int, at: tuple[str | int, ...]) -> Uniforms:
        """Uniform numbers of each row, [rows, step.numbers]; those of a row do not depend on how many rows follow."""
        drawn = uniforms((before + rows) * step.numbers, self.seed, "augmentation", step.name, *at)
        return drawn.reshape(-1, step.numbers)[before:]


class OwnAugmentation:
    """A user's change of images, or a transform of torchvision.

    Args:
        name: for messages.
        change: uint8 [B, 3, H, W] -> uint8 of the same shape, or, of torchvision, of one image without the B.
    """

    def __init__(self, name: str, change: Callable[[Tensor], Any]) -> None:
        self.name = name
        self.change = change
        self.by_image = type(change).__module__.startswith("torchvision.transforms")

    def __call__(self, x: Tensor, before: int, seed: int, *at: str | int) -> Tensor:
        """Change images.

        Args:
            x: uint8 [B, 3, H, W].
            before: images of that origin that the batch has already.
            seed: of the run.
            at: origin, task, epoch, step.

        Raises:
            RunError: the result has another type or shape.
        """
        if not self.by_image:
            return self._changed(x.clone(), derive_seed(seed, "augmentation", "own", *at, before))
        seeds = (derive_seed(seed, "augmentation", "own", *at, before + place) for place in range(len(x)))
        images = [self._changed(image, own) for image, own in zip(x, seeds, strict=True)]
        return torch.stack(images) if images else x

    def _changed(self, x: Tensor, seed: int) -> Tensor:
        with drawn_from(seed, x.device):
            changed = self.change(x)
        if not isinstance(changed, Tensor):
            what = type(changed).__name__
        elif changed.dtype != torch.uint8 or changed.shape != x.shape:
            what = f"{str(changed.dtype).removeprefix('torch.')} {list(changed.shape)}"
        else:
            return changed
        raise RunError(f"training.augmentation: {self.name} gives {what}, expected uint8 {list(x.shape)}")


def own_augmentation(section: AugmentationSection) -> OwnAugmentation | None:
    """Return what `training.augmentation.name` names; None: nothing.

    Raises:
        PartError: no such augmentation or options.
        RunError: it cannot be called.
    """
    if section.name is None:
        return None
    change = made("augmentation", section.name, section.options, "training.augmentation")
    if not callable(change):
        raise RunError(f"training.augmentation: {section.name} is {type(change).__name__}, which cannot be called")
    return OwnAugmentation(section.name, change)


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


@dataclass(frozen=True)
class Crop:
    """`random_resized_crop`. Cached images have the size of the input, so that crops are enlarged."""

    section: RandomResizedCropSection
    name = "random_resized_crop"
    numbers = 2 * CROP_TRIES + 2

    def parameters(self, u: Uniforms, size: int) -> tuple[NDArray[np.int64]]:
        """Boxes; see `crop_boxes`."""
        return (crop_boxes(u, size, self.section),)

    def __call__(self, x: Tensor, boxes: NDArray[np.int64]) -> Tensor:
        """The boxes, enlarged."""
        smaller = np.minimum(boxes[:, 2], boxes[:, 3]) < x.shape[-1]
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

    def parameters(self, u: Uniforms, size: int) -> tuple[NDArray[np.bool_]]:
        """Which images are flipped."""
        return (u[:, 0] < self.probability,)

    def __call__(self, x: Tensor, flipped: NDArray[np.bool_]) -> Tensor:
        """Left and right exchanged."""
        return image.on_rows(x, flipped, lambda images: images.flip(-1))


@dataclass(frozen=True)
class Colour:
    """`colour`.

    DECIDED: brightness, contrast, saturation, hue always in this order, where torchvision shuffles it for each image:
    so the batch stays whole.
    """

    section: ColourSection
    name = "colour"
    numbers = 4

    def parameters(self, u: Uniforms, size: int) -> tuple[Uniforms, ...]:
        """Factors of brightness, contrast and saturation, turns of the hue."""
        section = self.section
        strengths = (section.brightness, section.contrast, section.saturation)
        factors = [jitter(u[:, k], strength) for k, strength in enumerate(strengths)]
        return *factors, _between(-section.hue, section.hue, u[:, 3])

    def __call__(self, x: Tensor, *parameters: Uniforms) -> Tensor:
        """What has a strength, one after the other."""
        section = self.section
        strengths = (section.brightness, section.contrast, section.saturation, section.hue)
        operations = (image.brightness, image.contrast, image.saturation, image.hue)
        for strength, operation, values in zip(strengths, operations, parameters, strict=True):
            if strength:
                x = operation(x, values)
        return x


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

    def parameters(self, u: Uniforms, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Uniforms]:
        """Centres, sides and colours."""
        centres = np.floor(u[:, :2] * size).astype(np.int64)
        return centres, np.full(len(u), int(self.share * size + 0.5)), np.floor(256 * u[:, 2:])

    def __call__(self, x: Tensor, *squares: Any) -> Tensor:
        """The squares filled."""
        return image.cutout(x, *squares)


def _between(least: float, most: float, u: Uniforms) -> Uniforms:
    return least + (most - least) * u
