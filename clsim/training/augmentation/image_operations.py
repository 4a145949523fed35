"""Operations on batches of images, each image with parameters of its own.

Images are float32 [B, 3, H, W], RGB, 0..255 like the 8-bit images they come from; results are in the same range and on
the same device, and are not rounded to 8 bits. The images given may be overwritten: new memory for each operation would
push them out of the processor's caches. Parameters are NumPy arrays [B] or [B, k], made on the CPU,
so that they are the same on every device. Images do not influence each other. What each operation means is what
Pillow, and after it torchvision, means by its name.

Choices between pixels are products with 0 and 1: `torch.where` takes ten times as long on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample

from clsim.transfer import sent

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

GREY = 128.0
"""What stands where an affine map shows a place outside the image, as in the published code of AutoAugment."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G and B in a grey value: ITU-R 601, as in Pillow."""


def on_rows(x: Tensor, rows: NDArray[np.bool_], operation: Callable[..., Tensor], *parameters: Any) -> Tensor:
    """The batch with `operation(images, *parameters)` in place of the chosen images; the others are not touched.

    Args:
        rows: bool [B].
        parameters: arrays [B, ...], of which the operation gets the chosen rows.
    """
    if rows.all():
        return operation(x, *parameters)
    chosen = np.flatnonzero(rows)
    if len(chosen) == 0:
        return x
    first, last = chosen[0], chosen[-1]
    parameters = tuple(values[chosen] for values in parameters)
    if last - first == len(chosen) - 1:  # neighbours, without a copy
        images = x[first : last + 1]
        changed = operation(images, *parameters)
        if changed.data_ptr() != images.data_ptr():
            images.copy_(changed)
    else:
        at = sent(torch.from_numpy(chosen), x.device)
        x.index_copy_(0, at, operation(x.index_select(0, at), *parameters))
    return x


# where a pixel comes from


def resized_crop(x: Tensor, boxes: Integers) -> Tensor:
    """A box of each image, scaled to the size of the image; bilinear, as if nothing lay around the box.

    Args:
        boxes: int [B, 4]: top, left, height and width in pixels, inside the image.
    """
    height, width = x.shape[-2:]
    top, left, tall, wide = (boxes[:, k, None] for k in range(4))  # [B, 1]
    none = np.zeros((len(x), 1))
    down = top + ((np.arange(height) + 0.5) * (tall / height) - 0.5).clip(0, tall - 1)  # [B, H]
    across = left + ((np.arange(width) + 0.5) * (wide / width) - 0.5).clip(0, wide - 1)  # [B, W]
    return _sample(x, across, none, none, down, "bilinear")


def affine(x: Tensor, matrices: Floats) -> Tensor:
    """Each image under an affine map; nearest pixel, `GREY` where the map leaves the image.

    DECIDED: nearest, the default of Pillow and of torchvision's RandAugment.

    Args:
        matrices: [B, 2, 3], from (x, y, 1) of a pixel in the result to (x, y) of the pixel it shows; in pixels from the
            image's centre, x to the right, y down.
    """
    height, width = x.shape[-2:]
    (xx, xy, x0), (yx, yy, y0) = np.moveaxis(matrices, 0, -1)[..., None]  # [B, 1] each
    middle, centre = (width - 1) / 2, (height - 1) / 2
    right, below = np.arange(width) - middle, np.arange(height) - centre
    there = _sample(
        x.sub_(GREY), xx * right + x0 + middle, yx * right, xy * below, yy * below + y0 + centre, "nearest", "zeros"
    )
    return there.add_(GREY)


def shear_x(slopes: Floats, height: int) -> Floats:
    """Matrices [B, 2, 3] for `affine`: each row is shown `slope` pixels further left than the row above it."""
    return _matrices(len(slopes), {(0, 1): slopes, (0, 2): slopes * height / 2})


def shear_y(slopes: Floats, width: int) -> Floats:
    """Matrices [B, 2, 3] for `affine`: each column is shown `slope` pixels higher than the column to its left."""
    return _matrices(len(slopes), {(1, 0): slopes, (1, 2): slopes * width / 2})


def rotation(degrees: Floats) -> Floats:
    """Matrices [B, 2, 3] for `affine`: the image is shown turned counter-clockwise around its centre."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return _matrices(len(degrees), {(0, 0): cosine, (0, 1): -sine, (1, 0): sine, (1, 1): cosine})


def translate(x: Tensor, right: Integers, down: Integers) -> Tensor:
    """Each image moved so many pixels to the right, and down, in front of `GREY`.

    Args:
        right, down: int [B], less than width and height; negative to the left, and up.
    """
    height, width = x.shape[-2:]
    moved = torch.full_like(x, GREY)
    for image, target, i, j in zip(x, moved, down.tolist(), right.tolist(), strict=True):
        target[:, max(i, 0) : height + i, max(j, 0) : width + j] = image[
            :, max(-i, 0) : height - i, max(-j, 0) : width - j
        ]
    return moved


def cutout(x: Tensor, centres: Integers, sides: Integers, colours: Floats) -> Tensor:
    """A square of each image filled with one colour (DeVries and Taylor, arXiv 1708.04552).

    What lies outside the image is cut off.

    Args:
        centres: int [B, 2]: row and column; of an even side, the pixel below and to the right of the middle.
        sides: int [B], in pixels.
        colours: [B, 3], 0..255.
    """
    fillings = sent(torch.as_tensor(colours, dtype=torch.float32), x.device)[..., None, None]
    corners = centres - (sides // 2)[:, None]
    starts, stops = corners.clip(min=0).tolist(), (corners + sides[:, None]).clip(min=0).tolist()
    for image, filling, (top, left), (bottom, right) in zip(x, fillings, starts, stops, strict=True):
        image[:, top:bottom, left:right] = filling  # one by one, so that the rest of the images is not computed
    return x


# what a pixel becomes


def brightness(x: Tensor, factors: Floats) -> Tensor:
    """From black (0) over the image itself (1) to brighter ones."""
    return x.mul_(_column(factors, x)).clamp_(0, 255)


def contrast(x: Tensor, factors: Floats) -> Tensor:
    """From the image's mean grey (0) over the image itself (1) to more contrast."""
    factor = _column(factors, x)
    grey = (x.mean(dim=(2, 3)) @ _constant(LUMA, x)).view(-1, 1, 1, 1)
    return x.mul_(factor).add_(grey * (1 - factor)).clamp_(0, 255)


def saturation(x: Tensor, factors: Floats) -> Tensor:
    """From the grey image (0) over the image itself (1) to stronger colours."""
    factor = _column(factors, x)[:, 0]
    grey = _constant(LUMA, x).expand(3, 3)  # each channel becomes the grey value
    mixed = torch.eye(3, device=x.device) * factor + grey * (1 - factor)  # [B, 3, 3]: one pass over the pixels
    return torch.bmm(mixed, x.flatten(2)).clamp_(0, 255).view_as(x)


def sharpness(x: Tensor, factors: Floats) -> Tensor:
    """From the smoothed image (0) over the image itself (1) to sharper ones; the outermost pixels stay as they are.

    A pixel is smoothed to the mean of its 3 x 3 neighbourhood in which it counts five times.
    """
    inner = x[..., 1:-1, 1:-1]
    threes = x[..., :-2] + x[..., 1:-1] + x[..., 2:]
    smooth = (threes[..., :-2, :] + threes[..., 1:-1, :]).add_(threes[..., 2:, :]).add_(inner, alpha=4).div_(13)
    factor = _column(factors, x)  # the line from smooth (0) through the image (1) and on; exactly the image at 1
    inner.mul_(factor).add_(smooth.mul_(1 - factor)).clamp_(0, 255)
    return x


def hue(x: Tensor, turns: Floats) -> Tensor:
    """Hues turned by a share of the colour circle, -0.5..0.5; by 0.5 blue becomes yellow."""
    red, green, blue = x.unbind(dim=1)
    most, least = x.amax(dim=1), x.amin(dim=1)
    spread = most - least
    in_red = (most == red).float()
    in_green = (most == green).float().mul_(1 - in_red)
    in_blue = 1 - in_red - in_green
    sixth = ((green - blue) * in_red).add_((blue - red) * in_green).add_((red - green) * in_blue)
    sixth.div_(spread + (spread == 0)).add_(in_green, alpha=2).add_(in_blue, alpha=4)
    sixth += 6 * _column(turns, x)[:, 0]
    away = (sixth[:, None] + _constant((5.0, 3.0, 1.0), x).view(3, 1, 1)).remainder_(6)
    return most[:, None] - spread[:, None] * torch.minimum(away, 4 - away).clamp_(0, 1)


def posterize(x: Tensor, bits: Floats) -> Tensor:
    """Only the highest `bits` (1..8) of each 8-bit value are kept."""
    step = _column(np.exp2(8 - bits), x)
    return x.round_().div_(step).floor_().mul_(step)


def solarize(x: Tensor, thresholds: Floats) -> Tensor:
    """Values of a threshold (0..256) and above are inverted."""
    above = (x >= _column(thresholds, x)).float()
    return above.mul_(255 - 2 * x).add_(x)


def invert(x: Tensor) -> Tensor:
    """The negative."""
    return x.sub_(255).neg_()


def autocontrast(x: Tensor) -> Tensor:
    """Each channel stretched from black to white; one of a single value stays as it is."""
    least, most = x.amin(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True)
    flat = most == least
    stretch = 255 / (most - least).masked_fill_(flat, 255)
    return x.sub_(least.masked_fill_(flat, 0)).mul_(stretch).clamp_(0, 255)


def equalize(x: Tensor) -> Tensor:
    """Each channel with its 8-bit values spread to an even histogram; of too few pixels to spread they are kept.

    The table is Pillow's: with s = (pixels below the channel's largest value) // 255, the value v becomes
    (pixels below v + s // 2) // s.
    """
    channels = len(x) * x.shape[1]
    offsets = 256 * torch.arange(channels, dtype=torch.float32, device=x.device).view(len(x), -1, 1, 1)
    values = x.round_().clamp_(0, 255).add_(offsets).to(torch.int32).flatten()
    counts = _counts(values, 256 * channels).view(channels, 256)
    grey = torch.arange(256, device=x.device)
    below = counts.cumsum(dim=1) - counts
    largest = ((counts > 0) * grey).amax(dim=1, keepdim=True)
    step = below.gather(1, largest) // 255  # [channels, 1]
    table = torch.where(step > 0, ((below + step // 2) // step.clamp(min=1)).clamp_(max=255), grey)
    return table.float().flatten().index_select(0, values).view_as(x)


# shared pieces


def _column(values: Floats | Integers, x: Tensor) -> Tensor:
    """One number for each image, float32 [B, 1, 1, 1], on the images' device."""
    return sent(torch.as_tensor(values, dtype=torch.float32), x.device).view(-1, 1, 1, 1)


def _counts(values: Tensor, size: int) -> Tensor:
    """Return how often each of the numbers 0 to size - 1 is among the values, int64 [size].

    A GPU would have to be waited for by `bincount`.
    """
    if values.device.type == "cpu":
        return torch.bincount(values, minlength=size)
    counts = torch.zeros(size, dtype=torch.int64, device=values.device)
    return counts.scatter_add_(0, values.long(), torch.ones_like(values, dtype=torch.int64))


def _constant(values: Sequence[float], x: Tensor) -> Tensor:
    """The numbers, float32, on the images' device."""
    return sent(torch.tensor(values), x.device)


def _matrices(n: int, entries: dict[tuple[int, int], Floats]) -> Floats:
    matrices = np.tile(np.eye(2, 3), (n, 1, 1))
    for (row, column), values in entries.items():
        matrices[:, row, column] = values
    return matrices


def _sample(
    x: Tensor, across: Floats, down: Floats, along: Floats, below: Floats, mode: str, outside: str = "border"
) -> Tensor:
    """The images at fractional places: in row i and column j of the result, column across[j] + along[i] and row
    down[j] + below[i]; each [B, W], [B, W], [B, H], [B, H] or [B, 1].
    """
    height, width = x.shape[-2:]
    of_column = (2 * across + 1) / width - 1 + 1j * ((2 * down + 1) / height - 1)  # x and y as one complex number
    of_row = 2 * along / width + 2j * below / height
    columns, rows = (sent(torch.from_numpy(part.astype(np.complex64)), x.device) for part in (of_column, of_row))
    places = torch.view_as_real(columns[:, None, :] + rows[:, :, None])  # one addition, in the order that is wanted
    return grid_sample(x, places, mode, outside, align_corners=False)
