"""Pictures of a run's state for TensorBoard, uint8 [H, W, 3]; drawn without a display."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from clsim.scenario.plan import GROUPS

GROUP_COLOURS = ("#0072B2", "#56B4E9", "#D55E00")
MOST_NAMED = 120
"""Classes that are named; of more, every second, third, ... is."""


def matrix_image(matrix: NDArray[np.float64]) -> NDArray[np.uint8]:
    """R [T, T] in percent as a picture: viridis from 0 to 100, undefined entries light grey."""
    colors = matplotlib.colormaps["viridis"](np.nan_to_num(matrix) / 100)[..., :3]
    colors[np.isnan(matrix)] = 0.92
    cell = max(1, 320 // len(matrix))
    return (colors * 255).round().astype(np.uint8).repeat(cell, axis=0).repeat(cell, axis=1)


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
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
