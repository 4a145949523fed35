"""Pictures of a run's state for TensorBoard, uint8 [H, W, 3]; drawn without a display."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from clsim.evaluation.calibration import Reliability
from clsim.vocabulary import GROUPS

GROUP_COLOURS = ("#0072B2", "#56B4E9", "#D55E00")
MOST_NAMED = 120
"""Classes that are named; of more, every second, third, ... is."""
MOST_NUMBERED = 20
"""Tasks up to which each entry of R shows its number."""


def matrix_image(matrix: NDArray[np.float64]) -> NDArray[np.uint8]:
    """R [T, T] in percent as a picture: viridis from 0 to 100, undefined entries grey; of few tasks with numbers."""
    places = np.arange(len(matrix))
    side = 1.2 + 0.5 * min(len(matrix), 20)
    figure = Figure(figsize=(max(side, 2.6), max(side, 2.6)), layout="constrained")
    axes = figure.add_subplot()
    colours = matplotlib.colormaps["viridis"].with_extremes(bad="#ebebeb")
    axes.imshow(np.ma.masked_invalid(matrix), cmap=colours, vmin=0, vmax=100)
    if len(matrix) <= MOST_NUMBERED:
        for row, column in np.argwhere(np.isfinite(matrix)):
            value = matrix[row, column]
            colour = "black" if value > 60 else "white"
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set(xlabel="mAP of task", ylabel="after task")
    named = places[:: -(-len(places) // MOST_NUMBERED)]
    axes.set_xticks(named, [str(place) for place in named], fontsize=7)
    axes.set_yticks(named, [str(place) for place in named], fontsize=7)
    axes.tick_params(length=0)
    return _pixels(figure)


LABEL_COLOURS = {"given": "#333333", "relabelled": "#E69F00", "unknown": "#e6e6e6"}


def label_block_image(blocks: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.uint8]:
    """The label block matrix of a memory: rows by storing task, columns by the task of the class.

    The bar of a block is divided as its entries are: given, relabelled, unknown. Whether they are right is not shown.

    Args:
        blocks: int64 [T, T, 4], entries given, relabelled rightly, relabelled wrongly, unknown.
        names: of the T tasks.
    """
    shares = np.stack([blocks[..., 0], blocks[..., 1] + blocks[..., 2], blocks[..., 3]], axis=-1)
    shares = shares / np.maximum(shares.sum(axis=-1, keepdims=True), 1)
    places = np.arange(len(names))
    side = 1.4 + 0.5 * min(len(names), 20)
    figure = Figure(figsize=(max(side, 3.4), side), layout="constrained")
    axes = figure.add_subplot()
    for column in places:
        left = column - 0.46
        for state, colour in enumerate(LABEL_COLOURS.values()):
            width = 0.92 * shares[:, column, state]
            axes.barh(places, width, left=left, height=0.84, color=colour)
            left = left + width
    axes.set(xlim=(-0.5, len(names) - 0.5), ylim=(len(names) - 0.5, -0.5), xlabel="classes of", ylabel="stored by")
    axes.set_xticks(places, names, fontsize=7, rotation=90 if len(names) > 6 else 0)
    axes.set_yticks(places, names, fontsize=7)
    axes.tick_params(length=0)
    patches = [Patch(color=colour, label=state) for state, colour in LABEL_COLOURS.items()]
    figure.legend(handles=patches, loc="outside upper center", ncols=len(patches), frameon=False, fontsize=8)
    return _pixels(figure)


def reliability_image(table: Reliability) -> NDArray[np.uint8]:
    """A reliability diagram: share present over mean probability in each bin, and below it how many entries it has.

    Points below the diagonal are overconfident. The numbers of entries are on a logarithmic scale.

    Args:
        table: entries of all classes, which are pooled.
    """
    pooled = table.pooled()
    entries = pooled.entries[0]
    some = entries > 0
    predicted, present = pooled.predicted[0, some] / entries[some], pooled.present[0, some] / entries[some]
    figure = Figure(figsize=(3.6, 4.2))  # places given, because a layout would take most of the time
    axes, below = figure.add_axes((0.15, 0.36, 0.8, 0.6)), figure.add_axes((0.15, 0.12, 0.8, 0.2))
    axes.plot([0, 1], [0, 1], color="#888888", lw=1)
    axes.vlines(predicted, predicted, present, color="#D55E00", lw=1.5)
    axes.plot(predicted, present, "o-", color="#0072B2", markersize=4, lw=1.2)
    axes.set_ylabel("share present", fontsize=8)
    below.vlines(
        (np.arange(len(entries)) + 0.5) / len(entries), 0, np.log10(np.maximum(entries, 1)), color="#0072B2", lw=8
    )
    below.set_xlabel("predicted probability", fontsize=8)
    below.set_ylabel("entries", fontsize=8)
    powers = range(0, max(2, int(np.log10(max(entries.max(), 1))) + 2), 2)
    below.set(ylim=(0, powers[-1] + 1))
    below.set_yticks(powers, [f"1e{power}" for power in powers], fontsize=7)
    ticks = (0, 0.25, 0.5, 0.75, 1)
    below.set_xticks(ticks, [str(tick) for tick in ticks], fontsize=7)
    below.set(xlim=(0, 1))
    axes.set_xticks(ticks, [])
    axes.set_yticks(ticks, [str(tick) for tick in ticks], fontsize=7)
    axes.set(xlim=(0, 1), ylim=(-0.02, 1.02))
    return _pixels(figure)


def class_bars(
    names: Sequence[str], ap: NDArray[np.float64], best: NDArray[np.float64], group: NDArray[np.int8]
) -> NDArray[np.uint8]:
    """A bar for the AP of each class and a tick at its best so far: what lies between them has been forgotten.

    Every class has its place from the first task on, so that the pictures of a run can be leafed through.

    Args:
        names: the C classes.
        ap: float [C], percent; NaN has no bar.
        best: float [C], percent, the highest AP after any task so far; NaN has no tick.
        group: int8 [C], 0 head, 1 medium, 2 tail.
    """
    places = np.arange(len(names))
    named = places[:: -(-len(names) // MOST_NAMED)]
    figure = Figure(figsize=(6.4, 0.9 + 0.155 * min(len(names), MOST_NAMED)), layout="constrained")
    axes = figure.add_subplot()
    axes.barh(places, np.nan_to_num(ap), color=[GROUP_COLOURS[g] for g in group], height=0.75)
    axes.plot(best, places, "|", color="#222222", markersize=7)
    axes.set(xlim=(0, 100), ylim=(len(names) - 0.4, -0.6), xlabel="AP (%), tick: best so far")
    axes.set_yticks(named, [names[c] for c in named], fontsize=7, parse_math=False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#d9d9d9", lw=0.6)
    axes.set_axisbelow(True)
    patches = [Patch(color=colour, label=name) for name, colour in zip(GROUPS, GROUP_COLOURS, strict=True)]
    figure.legend(handles=patches, loc="outside upper center", ncols=len(GROUPS), frameon=False, fontsize=8)
    return _pixels(figure)


def _pixels(figure: Figure) -> NDArray[np.uint8]:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
