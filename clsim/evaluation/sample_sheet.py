"""A sheet of images with a line of text for each class there is something to say of, uint8 [H, W, 3]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from clsim.evaluation.canvas import INK, cut, length, write
from clsim.evaluation.samples import Mark

SIDE = 128
"""Pixels of an image on the sheet: smaller ones are enlarged by whole factors, larger ones reduced."""
LINES = 7
"""Lines below an image; always the same number, so that the sheets of a run can be leafed through."""
LINE, WIDTH, GAP, LETTERS = 15, 172, 10, 11
SIGNS: Mapping[Mark, tuple[str, str]] = {  # a sign tells them apart, a colour helps
    "right": ("\u2713", "#00703c"),
    "wrong": ("\u2717", "#b8320a"),
    "missed": ("\u25cb", "#0058a3"),
    "untold": ("?", "#6b6b6b"),
    "to come": ("\u2026", "#6b6b6b"),
}
FAINT = "#6b6b6b"


@dataclass(frozen=True)
class Tile:
    """One image of a sheet.

    Attributes:
        pixels: uint8 [3, h, w], RGB.
        lines: mark and text of each; what is beyond LINES is counted, not shown.
        note: below the lines' place, or nothing.
    """

    pixels: NDArray[np.uint8]
    lines: Sequence[tuple[Mark, str]]
    note: str = ""


def sheet(
    title: str, meanings: Mapping[Mark, str], tiles: Sequence[Tile], columns: int | None = None
) -> NDArray[np.uint8]:
    """Draw tiles in rows below a title and the meaning of each sign, uint8 [H, W, 3].

    Args:
        title: one line.
        meanings: of the signs.
        tiles: by rows.
        columns: tiles of a row; None: as nearly a square as may be.
    """
    columns = columns or max(3, int(np.ceil(np.sqrt(len(tiles)))))
    rows = -(-len(tiles) // columns)
    top = GAP + 2 * LINE + 8
    height = SIDE + 4 + (LINES + 1) * LINE + GAP
    picture = Image.new("RGB", (GAP + columns * (WIDTH + GAP), top + rows * height), "white")
    draw = ImageDraw.Draw(picture)
    write(draw, GAP, GAP, title, "la", INK, 13)
    left = float(GAP)
    for mark, meaning in meanings.items():
        sign, colour = SIGNS[mark]
        text = f"{sign} {meaning}"
        write(draw, left, GAP + LINE + 4, text, "la", colour, LETTERS)
        left += length(text, LETTERS) + 14
    for place, tile in enumerate(tiles):
        row, column = divmod(place, columns)
        _draw(picture, draw, tile, GAP + column * (WIDTH + GAP), top + row * height)
    return np.asarray(picture)


def _draw(picture: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, left: int, top: int) -> None:
    picture.paste(fitted(tile.pixels), (left, top))
    shown = tile.lines if len(tile.lines) <= LINES else tile.lines[: LINES - 1]
    y = top + SIDE + 4
    for mark, text in shown:
        sign, colour = SIGNS[mark]
        write(draw, left, y, sign, "la", colour, LETTERS)
        write(draw, left + 14, y, cut(text, WIDTH - 14, LETTERS), "la", colour, LETTERS)
        y += LINE
    if len(shown) < len(tile.lines):
        write(draw, left + 14, y, f"and {len(tile.lines) - len(shown)} more", "la", FAINT, LETTERS)
    write(draw, left, top + SIDE + 4 + LINES * LINE, cut(tile.note, WIDTH, LETTERS), "la", FAINT, LETTERS)


def fitted(pixels: NDArray[np.uint8]) -> Image.Image:
    """An image uint8 [3, h, w] within SIDE pixels: enlarged pixel by pixel, or reduced smoothly."""
    image = Image.fromarray(pixels.transpose(1, 2, 0))
    longer = max(image.size)
    if longer > SIDE:
        image.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC)
        return image
    factor = SIDE // longer
    return image.resize((factor * image.width, factor * image.height), Image.Resampling.NEAREST)
