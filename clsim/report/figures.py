"""The figures of a report: drawn without a display; as SVG text equal results give equal bytes."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import matplotlib as mpl
import matplotlib.figure
import numpy as np
from markupsafe import Markup, escape
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG

from clsim.evaluation import metrics
from clsim.report.results import Results
from clsim.report.tables import CHANCE, fixed

# Okabe and Ito's colours without yellow and black, then wine and olive of Paul Tol: distinct for every colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#8A8A2B")
MARKERS = {"o": "●", "s": "■", "^": "▲", "D": "◆", "v": "▼", "*": "★"}
INK, FAINT = "#222222", "#d9d9d9"
MAP_COLOURS = "YlGnBu"
MOST_NUMBERED_TASKS = 12
MOST_STEMS = 60
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a class name may hold a $
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "figure.constrained_layout.use": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.axisbelow": True,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
}


class Figure(mpl.figure.Figure):
    """A figure of matplotlib that a notebook shows as reports do, whether or not pyplot is loaded.

    Its label says what it shows.
    """

    _shown = count()

    def savefig(self, *arguments: Any, **options: Any) -> None:
        """Save it as matplotlib does, in the look of a report."""
        with mpl.rc_context(SETTINGS):
            super().savefig(*arguments, **options)

    def _repr_svg_(self) -> str:
        return str(as_svg(self, f"shown{next(self._shown)}", str(self.get_label())))


@dataclass(frozen=True)
class Style:
    """How one strategy looks in every figure; `glyph` is its marker as text."""

    colour: str
    marker: str
    glyph: str
    dashes: str


def styles(strategies: Sequence[str], upper: str | None = None) -> dict[str, Style]:
    """One look per strategy, the upper reference grey and dashed whatever its place."""
    looks = {}
    for rank, name in enumerate(name for name in strategies if name != upper):
        marker, glyph = list(MARKERS.items())[rank % len(MARKERS)]
        looks[name] = Style(COLOURS[rank % len(COLOURS)], marker, glyph, "-" if rank < len(COLOURS) else "-.")
    return looks if upper is None else looks | {upper: Style("#7a7a7a", "X", "✕", "--")}


def task_matrix(results: Results, strategy: str) -> np.ndarray:
    """R of one strategy in percent, float [seed, t, k], NaN where undefined."""
    return np.array([run.record.R for run in results.of(strategy)], dtype=float)


def task_forgetting(matrix: np.ndarray) -> np.ndarray:
    """Forgetting of each earlier task k < T, see `clsim.evaluation.metrics`; R [seed, t, k] -> [seed, k], in points."""
    return np.stack([metrics.forgetting(one)[:-1] for one in matrix])


def draw(results: Results) -> dict[str, Markup | None]:
    """Figures by name: curves, matrix-<rank of the strategy>, scale, forgetting; None where undefined."""
    with mpl.rc_context(SETTINGS):
        drawn = {"curves": curves(results), "scale": colour_scale()}
        drawn |= {f"matrix-{rank}": matrices(results, [name]) for rank, name in enumerate(results.strategies)}
        figures = {**drawn, "forgetting": forgetting(results)}
        return {
            name: None if figure is None else as_svg(figure, name, str(figure.get_label()))
            for name, figure in figures.items()
        }


def curves(results: Results) -> Figure:
    """mAP over the seen classes after each task, and chance: mean over seeds, band from the lowest to the highest."""
    learnt = [task.columns[1] for task in results.stream_run.record.tasks]
    looks = styles(results.strategies, results.upper) | {CHANCE: Style("#a0a0a0", "", "", ":")}
    figure = Figure(figsize=(6.4, max(3.6, 0.21 * len(results.strategies))))
    figure.set_label("mAP over the seen classes against the number of classes learnt, per strategy")
    axes = figure.add_subplot()
    ends = []
    for name in results.strategies:
        values = np.array([run.record.mAP for run in results.of(name)], dtype=float)  # [seed, task]
        line_with_band(axes, learnt, values, name, looks[name])
        mean = values.mean(axis=0)
        defined = np.flatnonzero(~np.isnan(mean))
        if len(defined):
            ends.append((name, learnt[defined[-1]], float(mean[defined[-1]])))
    chance = np.array(results.stream_run.record.chance.get("mAP", []), dtype=float)
    if len(chance) and np.isfinite(chance[-1]):
        line_with_band(axes, learnt, chance[None], CHANCE, looks[CHANCE])
        ends.append((CHANCE, learnt[-1], float(chance[-1])))
    low, high = axes.get_ylim()
    low, high = max(0.0, 10 * np.floor(low / 10)), min(100.0, 10 * np.ceil(high / 10))
    span = max(learnt[-1] - learnt[0], 1)
    margin = 0.03 * span if len(learnt) > 1 else 0.5
    right = learnt[-1] + margin
    axes.set(xlim=(learnt[0] - margin, right), ylim=(low, high))
    axes.set(xlabel="classes learnt (one marker per task)", ylabel="mAP over seen classes (%)")
    axes.set_xticks(thinned(learnt))
    axes.grid(axis="y", color=FAINT, lw=0.6)
    heights = _spread_apart([end for _, _, end in ends], gap=0.055 * (high - low) * 3.6 / figure.get_figheight())
    for (name, x, end), height in zip(ends, heights, strict=True):
        look = looks[name]
        path = [x, right + 0.04 * span, right + 0.07 * span]
        axes.plot(path, [end, height, height], color=look.colour, lw=0.8, clip_on=False)
        axes.plot(path[-1:], [height], look.marker, color=look.colour, markersize=5, clip_on=False)
        axes.text(right + 0.10 * span, height, name if len(name) <= 24 else f"{name[:23]}…", va="center")
    return figure


def matrices(results: Results, strategies: Sequence[str]) -> Figure:
    """R[t, k] of each strategy, mean over seeds, side by side on the colour scale 0..100 that all strategies share."""
    figure = Figure(figsize=(3.6 * len(strategies), 3.45))
    figure.set_label(f"Matrix R of {', '.join(strategies)}")
    for place, name in enumerate(strategies, start=1):
        axes = figure.add_subplot(1, len(strategies), place)
        _draw_matrix(axes, task_matrix(results, name).mean(axis=0), results.task_names)
        if len(strategies) > 1:
            axes.set_title(name)
    return figure


def _draw_matrix(axes: Axes, mean: np.ndarray, names: Sequence[str]) -> None:
    tasks = len(mean)
    axes.pcolormesh(np.ma.masked_invalid(mean), cmap=MAP_COLOURS, vmin=0, vmax=100, edgecolors="white", lw=0.8)
    axes.set(xlabel="tested on classes of task k", ylabel="after training task t", aspect="equal", ylim=(tasks, 0))
    ticks = thinned(list(range(tasks)))
    axes.set_xticks([tick + 0.5 for tick in ticks], [names[tick] for tick in ticks])
    axes.set_yticks([tick + 0.5 for tick in ticks], [names[tick] for tick in ticks])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if tasks <= MOST_NUMBERED_TASKS:
        for t, k in np.argwhere(~np.isnan(mean)):
            ink = "white" if mean[t, k] > 55 else INK
            size = min(10.0, 64 / tasks)
            axes.text(k + 0.5, t + 0.5, f"{mean[t, k]:.0f}", ha="center", va="center", color=ink, size=size)


def colour_scale() -> Figure:
    """The scale of the matrices, 0..100 percent."""
    figure = Figure(figsize=(3.6, 0.55))
    figure.set_label("Colour scale of the matrices from 0 to 100 percent")
    axes = figure.add_subplot()
    axes.pcolormesh(np.arange(0, 101, 2), [0, 1], np.arange(1, 100, 2)[None], cmap=MAP_COLOURS, edgecolors="face")
    axes.set(yticks=[], xlabel="mean AP (%)")
    axes.spines[:].set_visible(False)
    return figure


def forgetting(results: Results) -> Figure | None:
    """Forgetting per task in percent points; None where no strategy has an earlier task to forget."""
    values = {name: task_forgetting(task_matrix(results, name)) for name in results.strategies}
    values = {name: drops for name, drops in values.items() if not np.isnan(drops).all()}
    if not values:
        return None
    names = results.task_names[:-1]
    figure = stems(results, values, names, "task k", "forgetting (points)")
    figure.set_label("Forgetting per task and strategy")
    return figure


def stems(results: Results, values: dict[str, np.ndarray], names: Sequence[str], xlabel: str, ylabel: str) -> Figure:
    """Per strategy and place the mean over seeds as a stem from zero, with whiskers from lowest to highest seed.

    Where so many stems would not be told apart, lines with bands instead.
    """
    looks = styles(results.strategies, results.upper)
    figure = Figure(figsize=(6.4, 3.1))
    axes = figure.add_subplot()
    places = np.arange(len(names))
    step = 0.8 / len(values)
    crowded = len(values) * len(names) > MOST_STEMS
    for rank, (name, table) in enumerate(values.items()):  # table: [seed, place]
        look, mean = looks[name], table.mean(axis=0)
        if crowded:
            line_with_band(axes, places, table, name, look)
            continue
        x = places + (rank - (len(values) - 1) / 2) * step
        axes.vlines(x, 0, mean, color=look.colour, lw=min(9.0, 300 * step / len(names)), alpha=0.25)
        if len(table) > 1:
            axes.vlines(x, table.min(axis=0), table.max(axis=0), color=look.colour, lw=1.4)
        titled(axes.plot(x, mean, look.marker, color=look.colour, markersize=6)[0], f"{name}: {course_text(mean)}")
    axes.axhline(0, color="#888888", lw=0.8)
    axes.set(xlabel=xlabel, ylabel=ylabel, xlim=(-0.55, len(names) - 0.45))
    if min(np.nanmin(table) for table in values.values()) >= 0:
        axes.set_ylim(bottom=0)
    ticks = thinned(list(range(len(names))))
    axes.set_xticks(ticks, [names[tick] for tick in ticks])
    axes.tick_params(axis="x", length=0)
    axes.spines["bottom"].set_visible(False)
    axes.grid(axis="y", color=FAINT, lw=0.6)
    return figure


def line_with_band(
    axes: Axes, x: Sequence[float] | np.ndarray, table: np.ndarray, name: str, look: Style, decimals: int = 1
) -> None:
    """Mean over seeds of `table` [seed, x] as a line; several seeds add a band from the lowest to the highest."""
    if len(table) > 1:
        axes.fill_between(x, table.min(axis=0), table.max(axis=0), color=look.colour, alpha=0.16, lw=0)
    mean = table.mean(axis=0)
    (line,) = axes.plot(x, mean, look.dashes, color=look.colour, marker=look.marker, markersize=5, lw=1.7)
    titled(line, f"{name}: {course_text(mean, decimals)}")


def titled(artist: Artist, text: str) -> None:
    """Let a browser show `text` where the pointer rests on the artist; `as_svg` makes a <title> of it."""
    artist.set_gid(f"title:{text}")


def course_text(values: np.ndarray, decimals: int = 1) -> str:
    """The numbers of a line in words, dashes for NaN."""
    return ", ".join(fixed(value, decimals) for value in values)


def thinned(ticks: Sequence[int], most: int = 12) -> list[int]:
    """Every tick, or so many of them, evenly taken, that at most `most` remain."""
    return list(ticks)[:: -(-len(ticks) // most)]


def _spread_apart(heights: Sequence[float], gap: float) -> list[float]:
    """The heights moved as little as needed to lie at least `gap` apart, their order kept."""
    blocks: list[list[float]] = []  # [sum, count] of neighbours that touch, each height less gap times its rank
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    for rank, i in enumerate(order):
        blocks.append([heights[i] - gap * rank, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            total, count = blocks.pop()
            blocks[-1] = [blocks[-1][0] + total, blocks[-1][1] + count]
    levels = [total / count for total, count in blocks for _ in range(int(count))]
    moved = dict(zip(order, levels, strict=True))
    return [moved[i] + gap * order.index(i) for i in range(len(heights))]


def as_svg(figure: mpl.figure.Figure, name: str, label: str) -> Markup:
    """The figure as an <svg> element for an HTML page, its ids made unique by `name`."""
    text = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with mpl.rc_context({"svg.hashsalt": name}):
        FigureCanvasSVG(figure)
        figure.savefig(text, format="svg", transparent=True, metadata=nothing)
    svg = text.getvalue()
    svg = re.sub(r'<g id="title:([^"]*)">', r"<g><title>\1</title>", svg[svg.index("<svg") :])
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1))
