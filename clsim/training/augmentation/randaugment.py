"""RandAugment (Cubuk et al., NeurIPS 2020) on batches.

Each operation is drawn with equal probability from a pool; its range is that of AutoAugment (Cubuk et al., CVPR 2019),
of which a magnitude of 30 is the whole and 9, the default, three tenths. What can go two ways does so with equal
probability.

Two pools:

* paper: the 14 operations of the paper and of torchvision.
* krt: the 15 of `randaugment` 1.0.2 on PyPI, which the code of ASL and of the KRT family imports: inversion and a small
  grey-brown square in place of doing nothing. There an operation is carried out with probability 0.5, at one of nine
  magnitudes drawn with it, which is `{pool: krt, probability: 0.5, magnitude: [3, 30]}` here.

DECIDED: what the package does apart from this is not followed: rotations in one direction only, bicubic shears, and a
square of up to 20 pixels whatever the size of the image; here it is the share that this is of 224 pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from clsim.scenario.training_schema import RandAugmentSection
from clsim.training.augmentation import image_operations as image
from clsim.training.augmentation.image_operations import Floats

NUMBERS = 6
"""Uniform numbers of one operation: which, whether, how strong, which way, and where (two)."""

Operation = Callable[[Tensor, Floats, Floats], Tensor]
"""(images [B, 3, H, W], share of the range [B], -1..1, uniform numbers [B, 2] that say where) -> changed images."""


def _pixels(x: Tensor, share: Floats) -> NDArray[np.int64]:
    """How far an image is moved: at most 150 of 331 pixels."""
    return np.trunc(150 / 331 * x.shape[-1] * share).astype(np.int64)


def _square(x: Tensor, share: Floats, where: Floats) -> Tensor:
    size = x.shape[-1]
    sides = np.rint(20 / 224 * size * np.abs(share)).astype(np.int64)
    return image.cutout(x, np.floor(where * size).astype(np.int64), sides, np.tile([125.0, 122.0, 113.0], (len(x), 1)))


OPERATIONS: dict[str, Operation] = {
    "autocontrast": lambda x, share, where: image.autocontrast(x),
    "equalize": lambda x, share, where: image.equalize(x),
    "rotate": lambda x, share, where: image.affine(x, image.rotation(30 * share)),
    "solarize": lambda x, share, where: image.solarize(x, 256 * (1 - np.abs(share))),
    "saturation": lambda x, share, where: image.saturation(x, 1 + 0.9 * share),
    "posterize": lambda x, share, where: image.posterize(x, np.rint(8 - 4 * np.abs(share))),
    "contrast": lambda x, share, where: image.contrast(x, 1 + 0.9 * share),
    "brightness": lambda x, share, where: image.brightness(x, 1 + 0.9 * share),
    "sharpness": lambda x, share, where: image.sharpness(x, 1 + 0.9 * share),
    "shear-x": lambda x, share, where: image.affine(x, image.shear_x(0.3 * share, x.shape[-2])),
    "shear-y": lambda x, share, where: image.affine(x, image.shear_y(0.3 * share, x.shape[-1])),
    "translate-x": lambda x, share, where: image.translate(x, _pixels(x, share), _pixels(x, 0 * share)),
    "translate-y": lambda x, share, where: image.translate(x, _pixels(x, 0 * share), _pixels(x, share)),
    "invert": lambda x, share, where: image.invert(x),
    "cutout": _square,
}
POOLS = {
    "paper": ("identity", *(name for name in OPERATIONS if name not in ("invert", "cutout"))),
    "krt": tuple(OPERATIONS),
}


@dataclass(frozen=True)
class RandAugment:
    """`randaugment`."""

    section: RandAugmentSection
    name = "randaugment"

    @property
    def numbers(self) -> int:
        """Uniform numbers of an image."""
        return NUMBERS * self.section.operations

    def parameters(self, u: Floats, size: int) -> tuple[NDArray[np.int64], Floats, Floats]:
        """Of each operation: index in the pool and share, [B, operations], and where, [B, operations, 2]."""
        drawn = u.reshape(len(u), self.section.operations, NUMBERS)
        return *choices(drawn, self.section), drawn[..., 4:]

    def __call__(self, x: Tensor, chosen: NDArray[np.int64], shares: Floats, where: Floats) -> Tensor:
        """One operation after the other."""
        pool = POOLS[self.section.pool]
        for turn in range(self.section.operations):
            now = chosen[:, turn]
            for index in sorted(set(now.tolist()) - {-1}):
                if pool[index] != "identity":
                    operation = OPERATIONS[pool[index]]
                    x = image.on_rows(x, now == index, operation, shares[:, turn], where[:, turn])
        return x


def choices(u: Floats, section: RandAugmentSection) -> tuple[NDArray[np.int64], Floats]:
    """What an operation is: its index in the pool, int [...], -1 for none, and its share of the range [...], -1..1.

    Args:
        u: uniform numbers [..., 6], of which the first four are used.
    """
    least, most = section.magnitude if isinstance(section.magnitude, list) else (section.magnitude,) * 2
    chosen = np.floor(u[..., 0] * len(POOLS[section.pool])).astype(np.int64)
    chosen[u[..., 1] >= section.probability] = -1
    return chosen, (least + (most - least) * u[..., 2]) / 30 * np.where(u[..., 3] < 0.5, -1, 1)
