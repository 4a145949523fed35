"""Quality of the labels in a replay memory: a table, and the label block matrix of each strategy."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from numpy.typing import NDArray

from clsim.report.figures import SETTINGS, as_svg, thinned
from clsim.report.results import Results
from clsim.report.tables import number
from clsim.vocabulary import MEMORY_LABELS, MEMORY_ONES, STATES

HEADINGS = (  # a no-break space keeps each arrow with its word
    *("Strategy", "Coverage", "Precision\u00a0↑", "FPR\u00a0↓", "FNR\u00a0↓", "KL\u00a0↓"),
    *("Relabelled positives (newer classes)", "Hidden positives (newer classes)"),
    *("Relabelled positives (older classes)", "Hidden positives (older classes)"),
)
COLOURS = ("#4a4a4a", "#56B4E9", "#D55E00", "#e3e3e0")
HATCHES = (None, None, "////", None)  # wrong is told from right by its stripes as well
_STRIPES = "repeating-linear-gradient(-45deg, {0} 0 3px, white 3px 4.5px)"
LEGEND = tuple(
    (name, _STRIPES.format(colour) if hatch else colour)
    for name, colour, hatch in zip(
        ("given by the stream", "relabelled right", "relabelled wrong", "unknown"), COLOURS, HATCHES, strict=True
    )
)
"""Name of each state in a legend, and its CSS background."""
GAP_X, GAP_Y = 0.06, 0.12
MOST_BESIDE = 14
"""Tasks up to which the matrices stand side by side; with more each has the width of the page."""


def memory_table(results: Results) -> list[tuple[str, ...]]:
    """Heading, then a row per strategy with a memory: MEMORY_LABELS as text. Empty where no run recorded them."""
    rows: list[tuple[str, ...]] = [HEADINGS]
    for row in results.summaries:
        if any(run.memory_labels for run in results.of(row["strategy"])):
            decimals = {name: 0 if row["seeds"] == 1 else 1 for name in MEMORY_ONES} | {"KL": 3}
            cells = (number(row, f"memory_{name}", decimals.get(name, 1)) for name in MEMORY_LABELS)
            rows.append((row["strategy"], *cells))
    return rows if len(rows) > 1 else []


def label_figures(results: Results) -> list[tuple[str, Markup]]:
    """Name and label block matrix of each strategy that recorded it for every seed; all seeds are summed."""
    names = results.task_names
    figures = []
    for rank, strategy in enumerate(results.strategies):
        recorded = [run.memory_labels and run.memory_labels.blocks for run in results.of(strategy)]
        if any(blocks is None for blocks in recorded):
            continue
        blocks = np.sum(np.array(recorded, dtype=np.int64), axis=0)
        with mpl.rc_context(SETTINGS | {"hatch.linewidth": 1.0}):
            figures.append(
                (strategy, as_svg(_draw_blocks(blocks, names), f"labels-{rank}", _description(strategy, blocks)))
            )
    return figures


def block_bars(blocks: NDArray[np.int64]) -> list[NDArray[np.float64]]:
    """The bars of a label block matrix, divided as the entries of each block are.

    Args:
        blocks: int64 [T, T, 4], entries by storing task, task of the class and state.

    Returns:
        For each of STATES float64 [n, 4]: left, top, width, height, where block (row, column) has its corner at
        (column, row) and sides of 1. What has no entry has no bar.
    """
    shares = blocks / np.maximum(blocks.sum(axis=-1, keepdims=True), 1)
    starts = np.cumsum(shares, axis=-1) - shares
    bars = []
    for state in range(len(STATES)):
        rows, columns = np.nonzero(blocks[..., state])
        left = columns + GAP_X + (1 - 2 * GAP_X) * starts[rows, columns, state]
        width = (1 - 2 * GAP_X) * shares[rows, columns, state]
        bars.append(np.stack([left, rows + GAP_Y, width, np.full(len(rows), 1 - 2 * GAP_Y)], axis=1))
    return bars


def _description(strategy: str, blocks: NDArray[np.int64]) -> str:
    """The matrix in words, for screen readers."""
    older, newer = np.tril_indices(len(blocks), -1), np.triu_indices(len(blocks), 1)
    places = {"on the diagonal": np.diag_indices(len(blocks)), "above it": newer, "below it": older}
    parts = []
    for place, where in places.items():
        counts = zip(blocks[where].sum(axis=0), STATES, strict=True)
        parts.append(f"{place} " + ", ".join(f"{count} {state}" for count, state in counts))
    return f"Labels in the memory of {strategy}, entries: {'; '.join(parts)}"


def _draw_blocks(blocks: NDArray[np.int64], names: list[str]) -> Figure:
    tasks = len(blocks)
    figure = Figure(figsize=(3.6, 3.45) if tasks <= MOST_BESIDE else (7.4, 5.6))
    axes = figure.add_subplot()
    for bars, colour, hatch in zip(block_bars(blocks), COLOURS, HATCHES, strict=True):
        if len(bars):
            axes.add_patch(PathPatch(_outline(bars), facecolor=colour, edgecolor="white", hatch=hatch, lw=0))
    places = np.arange(tasks)
    corners = places[:, None] + [0.01, 0.03]
    diagonal = np.hstack([corners, np.broadcast_to([0.98, 0.94], corners.shape)])
    axes.add_patch(PathPatch(_outline(diagonal), facecolor="none", edgecolor="#222222", lw=0.8))
    axes.set(xlim=(0, tasks), ylim=(tasks, 0), xlabel="classes of task", ylabel="sample stored by task")
    if tasks <= MOST_BESIDE:
        axes.set_aspect("equal")
    ticks = thinned(list(range(tasks)), MOST_BESIDE)
    axes.set_xticks([tick + 0.5 for tick in ticks], [names[tick] for tick in ticks])
    axes.set_yticks([tick + 0.5 for tick in ticks], [names[tick] for tick in ticks])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def _outline(bars: NDArray[np.float64]) -> Outline:
    """Rectangles [n, 4] as one outline: thousands of bars stay few elements of the page."""
    left, top, width, height = bars.T
    corners = [(left, top), (left + width, top), (left + width, top + height), (left, top + height), (left, top)]
    points = np.array(corners).transpose(2, 0, 1).reshape(-1, 2)
    codes = [Outline.MOVETO, *[Outline.LINETO] * 3, Outline.CLOSEPOLY]
    return Outline(points, codes * len(bars))
