"""Each operation on images says on a GPU what it says on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from clsim.training.augmentation import image_operations as image
from clsim.training.augmentation.randaugment import OPERATIONS

GENERATOR = np.random.default_rng(0)
SHARE, WHERE = GENERATOR.uniform(-1, 1, 8), GENERATOR.uniform(0, 1, (8, 2))
OTHERS: dict[str, Any] = {
    "hue": lambda x: image.hue(x, SHARE / 2),
    "crop": lambda x: image.resized_crop(x, np.tile([[3, 5, 20, 24]], (8, 1))),
    "cutout": lambda x: image.cutout(x, np.full((8, 2), 9), np.full(8, 7), np.full((8, 3), 99.0)),
}


def pixels() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).integers(0, 256, (8, 3, 32, 32)).astype(np.float32))


@pytest.mark.parametrize("name", [*OPERATIONS, *OTHERS])
def test_an_operation_gives_the_pixels_of_the_cpu(gpu: torch.device, name: str) -> None:
    change = OTHERS.get(name) or (lambda x: OPERATIONS[name](x, SHARE, WHERE))
    here, there = change(pixels()), change(pixels().to(gpu)).cpu()
    different = ((here - there).abs() > 0.01).float().mean()
    assert different < 0.002  # the nearest pixel of a place half-way between two may be another one
