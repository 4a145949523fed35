"""Every batched operation is torchvision's of the same name on each image, with that image's parameter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from clsim.training.augmentation import image_operations as image

HEIGHT, WIDTH = 24, 30


def pictures(n: int = 5) -> Tensor:
    """Smooth colours with noise, one flat and one grey image among them; 8-bit values, float32 [n, 3, H, W]."""
    rng = np.random.default_rng(5)
    down, across = np.mgrid[0:HEIGHT, 0:WIDTH]
    waves = [np.sin(down * rng.uniform(0.05, 0.3) + across * rng.uniform(0.05, 0.3)) for _ in range(3 * n)]
    values = 128 + 90 * np.stack(waves).reshape(n, 3, HEIGHT, WIDTH) + rng.normal(0, 12, (n, 3, HEIGHT, WIDTH))
    x = torch.from_numpy(values.round().clip(0, 255)).float()
    x[1] = torch.tensor([10.0, 200.0, 90.0]).view(3, 1, 1)
    x[2] = x[2, :1]
    return x


def one_by_one(x: Tensor, operation: Callable[..., Tensor], parameters: np.ndarray) -> Tensor:
    return torch.stack([operation(picture, value) for picture, value in zip(x, parameters.tolist(), strict=True)])


def as_unit(operation: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """torchvision's operation on images in 0..1, where it rounds nothing."""
    return lambda picture, *options: operation(picture / 255, *options) * 255


def as_bytes(operation: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda picture, *options: operation(picture.to(torch.uint8), *options).float()


FACTORS = np.array([0.0, 0.3, 0.9, 1.4, 1.9])
POINTWISE = {
    "brightness": (image.brightness, as_unit(tv.adjust_brightness), FACTORS, 1e-4),
    "contrast": (image.contrast, as_unit(tv.adjust_contrast), FACTORS, 0.03),  # its grey weights sum to 0.9999
    "saturation": (image.saturation, as_unit(tv.adjust_saturation), FACTORS, 0.03),
    "sharpness": (image.sharpness, as_unit(tv.adjust_sharpness), FACTORS, 1e-3),
    "hue": (image.hue, as_unit(tv.adjust_hue), np.array([-0.5, -0.2, 0.01, 0.3, 0.5]), 1e-2),
    "posterize": (image.posterize, as_bytes(lambda x, n: tv.posterize(x, int(n))), np.array([1.0, 2, 4, 7, 8]), 0),
    "solarize": (image.solarize, as_bytes(tv.solarize), np.array([0, 1, 100.5, 180, 255]), 0),
}


@pytest.mark.parametrize(("ours", "theirs", "parameters", "tolerance"), POINTWISE.values(), ids=list(POINTWISE))
def test_pixels_become_what_torchvision_says(
    ours: Callable, theirs: Callable, parameters: np.ndarray, tolerance: float
) -> None:
    x = pictures()
    expected = one_by_one(x, theirs, parameters)
    assert (expected - x).abs().max() > 20
    torch.testing.assert_close(ours(x.clone(), parameters), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("ours", "theirs", "tolerance"),
    [
        (image.autocontrast, as_unit(tv.autocontrast), 1e-3),
        (image.equalize, as_bytes(tv.equalize), 0),
        (image.invert, as_bytes(tv.invert), 0),
    ],
)
def test_so_do_operations_without_a_parameter(ours: Callable, theirs: Callable, tolerance: float) -> None:
    x = pictures()
    torch.testing.assert_close(ours(x.clone()), torch.stack([theirs(picture) for picture in x]), rtol=0, atol=tolerance)


def test_equalize_of_a_large_image_spreads_its_values() -> None:
    """Above 255 pixels below the largest value Pillow's table is no longer the identity."""
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(100, 12, (3, 3, 90, 90)).round().clip(60, 140)).float()
    spread = image.equalize(x.clone())
    assert torch.equal(spread, torch.stack([as_bytes(tv.equalize)(picture) for picture in x]))
    assert spread.std() > 60


def moved_by_torchvision(picture: Tensor, how: str, amount: float) -> Tensor:
    options: dict = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0], "fill": [image.GREY] * 3}
    tilt = float(np.degrees(np.arctan(amount)))
    if how == "rotate":
        return tv.rotate(picture, amount, InterpolationMode.NEAREST, fill=[image.GREY] * 3)
    changed = {
        "shear-x": {"shear": [tilt, 0.0], "center": [0, 0]},
        "shear-y": {"shear": [0.0, tilt], "center": [0, 0]},
        "translate-x": {"translate": [int(amount), 0]},
        "translate-y": {"translate": [0, int(amount)]},
    }[how]
    return tv.affine(picture, **{**options, **changed})


MATRICES = {
    "shear-x": lambda amounts: image.shear_x(amounts, HEIGHT),
    "shear-y": lambda amounts: image.shear_y(amounts, WIDTH),
    "rotate": image.rotation,
}


@pytest.mark.parametrize("how", MATRICES)
def test_pixels_move_where_torchvision_moves_them(how: str) -> None:
    """But for one in a thousand, at most, whose place is half-way between two pixels but for rounding."""
    x = pictures()
    amounts = np.array([-0.2917, -0.1131, 0.0713, 0.2003, 0.2991]) * (100 if how == "rotate" else 1)
    moved = image.affine(x.clone(), MATRICES[how](amounts))
    expected = one_by_one(x, lambda picture, amount: moved_by_torchvision(picture, how, amount), amounts)
    assert (moved == image.GREY).all(dim=1).any(), "nothing came from outside"
    assert (moved != expected).float().mean() <= 0.001


@pytest.mark.parametrize("how", ["translate-x", "translate-y"])
def test_translated_images_are_torchvisions(how: str) -> None:
    x, amounts = pictures(), np.array([-11, -1, 0, 3, 23])
    both = (amounts, 0 * amounts) if how == "translate-x" else (0 * amounts, amounts)
    expected = one_by_one(x, lambda picture, amount: moved_by_torchvision(picture, how, amount), amounts)
    assert torch.equal(image.translate(x, *both), expected)


def test_an_affine_map_that_changes_nothing_is_exact() -> None:
    x = pictures()
    assert torch.equal(image.affine(x.clone(), image.rotation(np.zeros(5))), x)


def test_crops_are_torchvisions() -> None:
    x = pictures()
    boxes = np.array([[0, 0, HEIGHT, WIDTH], [3, 5, 20, 20], [1, 0, 7, 30], [4, 13, 20, 17], [0, 29, 1, 1]])
    expected = torch.stack(
        [
            tv.resized_crop(picture, *box, [HEIGHT, WIDTH], antialias=True)
            for picture, box in zip(x, boxes.tolist(), strict=True)
        ]
    )
    torch.testing.assert_close(image.resized_crop(x, boxes), expected, rtol=0, atol=2e-3)


def test_cutout_fills_a_square_and_cuts_it_off_at_the_border() -> None:
    x = pictures(4)
    centres, sides = np.array([[10, 12], [0, 0], [23, 29], [8, 8]]), np.array([7, 8, 6, 0])
    colours = np.array([[255.0, 0, 7], [1, 2, 3], [9, 9, 9], [5, 5, 5]])
    expected = x.clone()
    for picture, rows, columns, colour in zip(
        expected,
        [slice(7, 14), slice(0, 4), slice(20, 24), slice(0, 0)],
        [slice(9, 16), slice(0, 4), slice(26, 30), slice(0, 0)],
        torch.from_numpy(colours).float(),
        strict=True,
    ):
        picture[:, rows, columns] = colour.view(3, 1, 1)
    assert torch.equal(image.cutout(x.clone(), centres, sides, colours), expected)


@pytest.mark.parametrize("operation", [image.brightness, image.contrast, image.saturation, image.sharpness])
def test_a_factor_of_one_is_exact(operation: Callable) -> None:
    x = pictures() + 0.3
    x.clamp_(max=255)
    assert torch.equal(operation(x.clone(), np.ones(5)), x)


ALL: dict[str, Callable[[Tensor], Tensor]] = {
    "crop": lambda x: image.resized_crop(x, np.tile([2, 3, 15, 20], (len(x), 1))),
    "affine": lambda x: image.affine(x, image.rotation(np.full(len(x), 20.0))),
    "translate": lambda x: image.translate(x, np.full(len(x), 4), np.full(len(x), -5)),
    "cutout": lambda x: image.cutout(x, np.full((len(x), 2), 9), np.full(len(x), 5), np.full((len(x), 3), 7.0)),
    **{n: lambda x, f=f, p=p: f(x, np.full(len(x), p[3])) for n, (f, _, p, _) in POINTWISE.items()},
    "autocontrast": image.autocontrast,
    "equalize": image.equalize,
    "invert": image.invert,
}


@pytest.mark.parametrize("operation", ALL.values(), ids=list(ALL))
def test_images_stay_images_in_range(operation: Callable[[Tensor], Tensor]) -> None:
    x = pictures()
    changed = operation(x.clone())
    assert (changed.shape, changed.dtype) == (x.shape, torch.float32)
    assert changed.min() >= -1e-4
    assert changed.max() <= 255 + 1e-4


@pytest.mark.parametrize("operation", ALL.values(), ids=list(ALL))
def test_images_do_not_influence_each_other(operation: Callable[[Tensor], Tensor]) -> None:
    x = pictures()
    together = operation(x.clone())
    torch.testing.assert_close(
        together, torch.cat([operation(x[k : k + 1].clone()) for k in range(5)]), rtol=0, atol=1e-4
    )


def test_on_rows_changes_only_those() -> None:
    x = pictures()
    kept, amounts = x.clone(), np.array([7.0, 1, 7, 3, 7])
    rows = np.array([False, True, False, True, False])
    changed = image.on_rows(x, rows, image.brightness, amounts)
    expected = [kept[0], kept[1], kept[2], (3 * kept[3]).clamp(max=255), kept[4]]
    assert torch.equal(changed, torch.stack(expected))
    assert image.on_rows(x, np.zeros(5, dtype=bool), image.invert) is x


@pytest.mark.parametrize("operation", [image.invert, lambda x: x.flip(-1)], ids=["in place", "in new memory"])
@pytest.mark.parametrize("rows", [[2], [0, 1], [1, 2, 3], [3, 4], [0, 4], [0, 1, 3], [0, 1, 2, 3, 4]], ids=str)
def test_on_rows_changes_neighbours_and_scattered_rows_alike(operation: Any, rows: list[int]) -> None:
    x = pictures()
    expected = x.clone()
    expected[rows] = operation(x[rows])
    assert torch.equal(image.on_rows(x, np.isin(np.arange(5), rows), operation), expected)


def test_on_rows_of_all_rows_is_the_operation() -> None:
    x = pictures()
    assert torch.equal(image.on_rows(x.clone(), np.ones(5, dtype=bool), image.invert), 255 - x)
