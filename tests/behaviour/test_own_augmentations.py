"""Augmentations of a user's file and transforms of torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from clsim.errors import ClsimError
from clsim.scenario.training_schema import TrainingSection
from clsim.training.augmentation.pipeline import Augmentation

FILE = """
import random

import numpy as np
import torch
from torchvision.transforms import v2


def invert(x):
    return 255 - x


def noisy(x, most=3):
    draws = torch.randint(0, most, x.shape, dtype=torch.uint8) + random.randrange(2) + np.random.randint(2)
    return (x // 2 + draws).to(torch.uint8)


composed = v2.Compose([v2.RandomHorizontalFlip(0.5), v2.RandomPosterize(4, p=0.5)])


def float_images(x):
    return x.float()


def half_size(x):
    return x[..., ::2, ::2]


def in_place(x):
    return x.zero_()
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "own.py"
    path.write_text(FILE)
    return path


def augmentation(name: str, seed: int = 0, **more: Any) -> Augmentation:
    config = {"epochs": 1, "optimizer": {"lr": 0.1}, "augmentation": {"name": name, **more}}
    return Augmentation(TrainingSection.model_validate(config), seed)


def bytes_of(change: Augmentation, x: Tensor, *at: Any, **more: Any) -> Tensor:
    return change.normalisation.undo_(change(x, *at, **more).clone())


IMAGES = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
AT = ("new", 0, 0, 0)


def test_an_augmentation_comes_before_the_shipped_ones(own: Path) -> None:
    assert torch.equal(bytes_of(augmentation(f"{own}:invert"), IMAGES, *AT), 255.0 - IMAGES)
    flipped = bytes_of(augmentation(f"{own}:invert", flip=1.0), IMAGES, *AT)
    assert torch.equal(flipped, 255.0 - IMAGES.flip(-1))


def test_normalised_images_are_brought_back_first(own: Path) -> None:
    change = augmentation(f"{own}:invert")
    normalised = change.normalisation.of_bytes(IMAGES)
    kept = normalised.clone()
    assert torch.equal(change(normalised, *AT), change(IMAGES, *AT))
    assert torch.equal(normalised, kept)


@pytest.mark.parametrize("name", ["own:noisy", "own:composed", "v2/RandomHorizontalFlip"])
def test_it_draws_from_the_position_and_disturbs_nobody(own: Path, name: str) -> None:
    change = augmentation(name.replace("own:", f"{own}:"))
    state = torch.get_rng_state()
    first = change(IMAGES, *AT)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    assert torch.equal(change(IMAGES, *AT), first)
    assert not torch.equal(change(IMAGES, "replayed", 0, 0, 0), first)
    assert not torch.equal(change(IMAGES, "new", 0, 0, 1), first)


def test_a_transform_of_torchvision_draws_for_every_image_by_its_place(own: Path) -> None:
    change = augmentation(f"{own}:composed")
    whole = change(IMAGES, *AT)
    assert torch.equal(change(IMAGES[2:4], *AT, before=2), whole[2:4])
    flips = bytes_of(augmentation("v2/RandomHorizontalFlip"), IMAGES, *AT)
    flipped = [bool((image == other.flip(-1)).all()) for image, other in zip(flips, IMAGES, strict=True)]
    assert 0 < sum(flipped) < len(flipped)


def test_stored_images_are_not_overwritten(own: Path) -> None:
    kept = IMAGES.clone()
    augmentation(f"{own}:in_place")(IMAGES, *AT)
    assert torch.equal(IMAGES, kept)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("own:float_images", r"gives float32 \[6, 3, 8, 8\], expected uint8 \[6, 3, 8, 8\]$"),
        ("own:half_size", r"gives uint8 \[6, 3, 4, 4\], expected uint8 \[6, 3, 8, 8\]$"),
        ("v2/ToPILImage", r"gives Image, expected uint8 \[3, 8, 8\]$"),
    ],
)
def test_an_augmentation_that_gives_something_else_is_one_line(own: Path, name: str, text: str) -> None:
    with pytest.raises(ClsimError, match=rf"^training\.augmentation: .*{text}"):
        augmentation(name.replace("own:", f"{own}:"))(IMAGES, *AT)


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        (
            "v2/RandomHorizontalFlipp",
            {},
            "RandomHorizontalFlipp: torchvision has no 'RandomHorizontalFlipp', did you mean",
        ),
        ("v2/RandomHorizontalFlip", {"q": 1}, r"^training\.augmentation\.options\.q: unknown option; allowed: p$"),
        (
            "own:composed",
            {"p": 1},
            r"^training\.augmentation\.options: given for .*own\.py:composed, which is an object and takes none$",
        ),
    ],
)
def test_a_wrong_augmentation_is_one_line(own: Path, name: str, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ClsimError, match=text):
        augmentation(name.replace("own:", f"{own}:"), options=options)
