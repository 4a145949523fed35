"""Pictures of a run's state for TensorBoard, uint8 [H, W, 3]; drawn without a display.

A run draws them while it trains, so each takes milliseconds, whatever the number of tasks and classes, and shows what
a person can read: of many tasks every second, third, ... is named, of many classes the worst and the best.
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from numpy.typing import NDArray

from clsim.evaluation.calibration import Reliability
from clsim.evaluation.canvas import Canvas, cut, length
from clsim.vocabulary import GROUPS

GROUP_COLOURS = ("#0072B2", "#56B4E9", "#D55E00")
LABEL_COLOURS = {"given": "#333333", "relabelled": "#E69F00", "unknown": "#e6e6e6"}
UNDEFINED = "#ebebeb"
MOST_NAMED = 40
"""Classes up to which each has its bar; of more there are quantiles, and bars of the worst and the best."""
EXTREMES = 15
"""Bars of the worst classes, and as many of the best."""
MOST_NUMBERED = 20
"""Tasks up to which each entry of R shows its number; of more, so many are named."""
SIDE = 800
"""Pixels of the sides of a square of many tasks."""
MARGIN = 52
"""Pixels around such a square, for names."""

_WIDTH, _ROW, _TOP, _FOOT = 640, 15, 34, 30
_GRID, _ALL = "#d9d9d9", "#222222"


def is_pictured(when: str, done: int, tasks: int) -> bool:
    """Tell whether pictures are drawn after a task.

    Args:
        when: every; sparse: after 1, 2, 4, 8, ... tasks and the last one; last; none. As `evaluation.pictures`.
        done: tasks learnt, 1 ... tasks.
        tasks: of the stream.
    """
    if when == "sparse":
        return done == tasks or done.bit_count() == 1
    return when == "every" or (when == "last" and done == tasks)


def matrix_image(matrix: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Draw R [T, T] in percent: viridis from 0 to 100, undefined entries grey; of few tasks with numbers."""
    tasks = len(matrix)
    side = _side(tasks)
    of_pixel = np.arange(side) * tasks // side
    colours = matplotlib.colormaps["viridis"].with_extremes(bad=UNDEFINED)
    shown = colours(np.ma.masked_invalid(matrix / 100), bytes=True)[..., :3]
    canvas = _square([str(task) for task in range(tasks)], "mAP (%) after each task (row) of each task (column)", side)
    canvas.paste(shown[of_pixel][:, of_pixel], MARGIN, MARGIN)
    if tasks <= MOST_NUMBERED:
        for row, column in np.argwhere(np.isfinite(matrix)):
            value = matrix[row, column]
            x, y = (MARGIN + (place + 0.5) * side / tasks for place in (column, row))
            canvas.text(x, y, f"{value:.0f}", "mm", "black" if value > 60 else "white", 11)
    return canvas.pixels()


def label_block_image(blocks: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.uint8]:
    """Draw the label block matrix of a memory: rows by storing task, columns by the task of the class.

    The bar of a block is divided as its entries are: given, relabelled, unknown. Whether they are right is not shown.

    Args:
        blocks: int64 [T, T, 4], entries given, relabelled rightly, relabelled wrongly, unknown.
        names: of the T tasks.
    """
    tasks = len(names)
    side = _side(tasks)
    counts = np.stack([blocks[..., 0], blocks[..., 1] + blocks[..., 2], blocks[..., 3]], axis=-1)
    ends = (counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)).cumsum(axis=-1)
    of_pixel, within = np.divmod((np.arange(side) + 0.5) * tasks / side, 1)
    of_pixel = of_pixel.astype(np.int64)
    state = (within[None, :, None] > ends[:, of_pixel] + 1e-9).sum(axis=-1)  # [T, side]; 3: the block is empty
    palette = np.array([_rgb(colour) for colour in (*LABEL_COLOURS.values(), "#ffffff")], dtype=np.uint8)
    shown = palette[state][of_pixel]
    if side >= 12 * tasks:  # wide enough for a gap
        gap = (within < 0.05) | (within > 0.95)
        shown[gap] = shown[:, gap] = 255
    canvas = _square(names, "labels of rows stored by each task (row), of the classes of each (column)", side)
    canvas.legend(MARGIN, 30, LABEL_COLOURS.items())
    canvas.paste(shown, MARGIN, MARGIN)
    return canvas.pixels()


def _side(tasks: int) -> int:
    """Return the pixels of the sides of a square of tasks; of few it grows with them."""
    return tasks * int(np.clip(240 // tasks, 40, 200)) if tasks <= MOST_NUMBERED else SIDE


def _square(names: Sequence[str], title: str, side: int) -> Canvas:
    """Return a canvas with a title, and names left of and below the square that is to be pasted at the margins."""
    canvas = Canvas(max(side + 2 * MARGIN, int(length(title)) + 8), side + 2 * MARGIN)
    canvas.text(4, 12, title)
    cell = side / len(names)
    step = -(-len(names) // MOST_NUMBERED)
    for place in range(0, len(names), step):
        middle = MARGIN + (place + 0.5) * cell
        canvas.text(MARGIN - 5, middle, cut(names[place], MARGIN - 8), "rm")
        canvas.text(middle, MARGIN + side + 10, cut(names[place], int(step * cell)), "mm")
    return canvas


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


def class_bars(
    names: Sequence[str], ap: NDArray[np.float64], best: NDArray[np.float64], group: NDArray[np.int8]
) -> NDArray[np.uint8]:
    """Draw a bar for the AP of each class and a tick at its best so far: what lies between them has been forgotten.

    Up to MOST_NAMED every class has its place from the first task on. Of more the AP at each quantile is drawn, of all
    classes and of each group, and below it the bars of the worst and of the best. All pictures of a run have one size,
    so that they can be leafed through.

    Args:
        names: the C classes.
        ap: float [C], percent; NaN has no bar.
        best: float [C], percent, the highest AP after any task so far; NaN has no tick.
        group: int8 [C], 0 head, 1 medium, 2 tail.
    """
    if len(names) <= MOST_NAMED:
        canvas = Canvas(_WIDTH, _TOP + _ROW * len(names) + _FOOT)
        canvas.legend(10, 14, zip(GROUPS, GROUP_COLOURS, strict=True))
        _bars(canvas, _TOP, list(names), ap, best, group)
        return canvas.pixels()
    known = np.flatnonzero(np.isfinite(ap))
    ranked = known[np.argsort(ap[known], kind="stable")]
    parts = {"worst": ranked[:EXTREMES], "best": ranked[-EXTREMES:][::-1]}
    plot, below = 240, _ROW * EXTREMES + _FOOT + 24
    canvas = Canvas(_WIDTH, _TOP + plot + 40 + len(parts) * below)
    canvas.legend(10, 14, [("all classes", _ALL), *zip(GROUPS, GROUP_COLOURS, strict=True)])
    _quantiles(canvas, _TOP, plot, ap[known], group[known])
    top = _TOP + plot + 40
    for kind, columns in parts.items():
        canvas.text(10, top + 8, f"the {len(columns)} {kind} of {len(known)} seen classes")
        _bars(canvas, top + 24, [names[c] for c in columns], ap[columns], best[columns], group[columns])
        top += below
    return canvas.pixels()


def _bars(
    canvas: Canvas,
    top: int,
    names: Sequence[str],
    ap: NDArray[np.float64],
    best: NDArray[np.float64],
    group: NDArray[np.int8],
) -> None:
    """Draw rows of bars from `top` on, and their axis; arguments as of `class_bars`."""
    shown = [cut(name, 180) for name in names]
    left = 12 + max(map(length, shown), default=0)
    scale = (_WIDTH - 20 - left) / 100
    bottom = top + _ROW * len(names)
    for percent in range(0, 101, 20):
        x = left + percent * scale
        canvas.box(x, top, x + 1, bottom + 3, _GRID)
        canvas.text(x, bottom + 10, str(percent), "mm")
    canvas.text(left + 50 * scale, bottom + 22, "AP (%), tick: best so far", "mm")
    for row, name in enumerate(shown):
        y = top + _ROW * row
        canvas.text(left - 6, y + _ROW / 2, name, "rm")
        if np.isfinite(ap[row]):
            canvas.box(left, y + 2, left + ap[row] * scale, y + _ROW - 2, GROUP_COLOURS[group[row]])
        if np.isfinite(best[row]):
            x = left + best[row] * scale
            canvas.box(x - 1, y + 1, x + 1, y + _ROW - 1, "#222222")


def _quantiles(canvas: Canvas, top: int, height: int, ap: NDArray[np.float64], group: NDArray[np.int8]) -> None:
    """Draw the AP, float [K] in percent, at each quantile of the classes, as steps, of all and of each group."""
    left, right = 40, _WIDTH - 20
    for percent in range(0, 101, 20):
        y, x = top + height * (1 - percent / 100), left + (right - left) * percent / 100
        canvas.box(left, y, right, y + 1, _GRID)
        canvas.text(left - 6, y, str(percent), "rm")
        canvas.text(x, top + height + 10, str(percent), "mm")
    canvas.text(
        (left + right) / 2, top + height + 24, "AP (%) over the share of classes that have at most it (%)", "mm"
    )
    curves = [(ap[group == g], colour) for g, colour in enumerate(GROUP_COLOURS)]
    for values, colour in (*curves, (ap, _ALL)):
        corners = np.repeat(np.linspace(left, right, len(values) + 1), 2)[1:-1]
        heights = np.repeat(top + height * (1 - np.sort(values) / 100), 2)
        if len(values):
            canvas.path(zip(corners.tolist(), heights.tolist(), strict=True), colour)


def reliability_image(table: Reliability) -> NDArray[np.uint8]:
    """Draw a reliability diagram: share present over mean probability in each bin, and below it the entries of each.

    Points below the diagonal are overconfident. The numbers of entries are on a logarithmic scale.

    Args:
        table: entries of all classes, which are pooled.
    """
    pooled = table.pooled()
    entries = pooled.entries[0]
    some = entries > 0
    predicted, present = pooled.predicted[0, some] / entries[some], pooled.present[0, some] / entries[some]
    left, right, top, bottom, base = 50, 345, 30, 325, 425
    canvas = Canvas(360, 465)
    canvas.text(10, 12, "share present")
    canvas.text(10, bottom + 20, "entries")
    canvas.text((left + right) / 2, base + 26, "predicted probability", "mm")
    for tick in (0, 0.25, 0.5, 0.75, 1):
        x, y = left + tick * (right - left), bottom - tick * (bottom - top)
        canvas.box(left, y, right, y + 1, _GRID)
        canvas.text(left - 6, y, f"{tick:g}", "rm")
        canvas.text(x, base + 10, f"{tick:g}", "mm")
    canvas.path([(left, bottom), (right, top)], "#888888", 1)
    points = [
        (left + x * (right - left), bottom - x * (bottom - top), bottom - y * (bottom - top))
        for x, y in zip(predicted.tolist(), present.tolist(), strict=True)
    ]
    for x, diagonal, y in points:
        canvas.box(x - 1, min(diagonal, y), x + 1, max(diagonal, y), "#D55E00")
    canvas.path([(x, y) for x, _, y in points], "#0072B2")
    for x, _, y in points:
        canvas.box(x - 2, y - 2, x + 3, y + 3, "#0072B2")
    powers = np.log10(np.maximum(entries, 1))
    highest = max(2, int(powers.max()) + 1)
    scale, width = 70 / highest, (right - left) / len(entries)
    for power in range(0, highest + 1, 2):
        canvas.text(left - 6, base - power * scale, f"1e{power}", "rm")
    for place, power in enumerate(powers.tolist()):
        x = left + place * width
        canvas.box(x + 1, base - power * scale, x + width - 1, base, "#0072B2")
    canvas.box(left, base, right, base + 1, _GRID)
    return canvas.pixels()
