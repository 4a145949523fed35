"""The figures of model rebalancing: size of the low-rank parts, discrepancy against exposure, schedule."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from clsim.report.figures import (
    FAINT,
    INK,
    MAP_COLOURS,
    MARKERS,
    MOST_NUMBERED_TASKS,
    SETTINGS,
    as_svg,
    line_with_band,
    styles,
    thinned,
    titled,
)
from clsim.report.results import Results
from clsim.strategies.report_sections.more import Floats, Rebalancing
from clsim.training.schedules import half_sine
from clsim.vocabulary import MORE_COLLAPSED

GROUP_LOOKS = {"head": ("o", "#0072B2"), "medium": ("s", "#8A8A2B"), "tail": ("^", "#D55E00"), "": ("o", "#5f6368")}
GROUP_GLYPHS = [(group, MARKERS[marker], colour) for group, (marker, colour) in GROUP_LOOKS.items() if group]
"""Group, glyph and colour, for a legend."""
MOST_NAMED_CLASSES = 20
STEPS = 40
"""Points of the schedule's curve in each task."""


def course_figures(results: Results, found: Mapping[str, Rebalancing]) -> list[tuple[str, Markup]]:
    """Title and figure of what has a value after each task, and of the schedule; all by strategy."""
    with mpl.rc_context(SETTINGS):
        return [
            ("Size of the low-rank parts", _sizes(results, found)),
            ("Rank correlation", _correlations(results, found)),
            *(
                [("Schedule", _schedule(results, found))]
                if any("amplitude" in o.options for o in found.values())
                else []
            ),
        ]


def layer_figures(results: Results, found: Mapping[str, Rebalancing]) -> list[tuple[str, Markup]]:
    """Strategy and ||BA|| / ||W|| in percent by layer and task, mean over seeds, on one scale of colours."""
    means = {name: 100 * own.by_layer.mean(axis=0).T for name, own in found.items() if own.layers}  # [layer, T]
    known = [mean[mean > 0] for mean in means.values()]
    sizes = np.concatenate(known) if known else np.ones(1)
    low, high = (float(sizes.min()), float(sizes.max())) if len(sizes) else (1.0, 1.0)
    scale = LogNorm(low, high if high > low else 2 * low)
    with mpl.rc_context(SETTINGS):
        return [(name, _layers(results, name, found[name].layers, mean, scale)) for name, mean in means.items()]


def class_figures(results: Results, found: Mapping[str, Rebalancing]) -> list[tuple[str, Markup]]:
    """Strategy and scatter of its classes after the last task: discrepancy of the two paths against exposure weight."""
    record = results.stream_run.record
    group = record.groups.by_class()
    with mpl.rc_context(SETTINGS):
        return [
            (name, _scatter(results, name, own, [group.get(label, "") for label in record.class_names]))
            for name, own in found.items()
            if not np.isnan(own.weight[:, -1] * own.discrepancy[:, -1]).all()
        ]


def _sizes(results: Results, found: Mapping[str, Rebalancing]) -> Markup:
    figure, axes = _over_tasks(results, "mean ‖BA‖ / ‖W‖ (%)")
    looks = styles(results.strategies, results.upper)
    for name, own in found.items():
        line_with_band(axes, np.arange(own.low_rank.shape[1]), 100 * own.low_rank, name, looks[name], decimals=2)
    axes.axhline(100 * MORE_COLLAPSED, color="#a03c00", lw=1.2, ls=":")
    axes.set_yscale("symlog", linthresh=0.1)  # what has not moved at all lies at 0, which a log has not
    highest = max(float(np.nanmax(own.low_rank, initial=MORE_COLLAPSED)) for own in found.values())
    axes.set_ylim(0, 200 * highest)
    ticks = [tick for tick in (0, 0.1, 1, 10, 100) if tick <= 200 * highest]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    return as_svg(figure, "more-sizes", "Mean size of BA relative to W when a task's parts were merged, per strategy")


def _correlations(results: Results, found: Mapping[str, Rebalancing]) -> Markup:
    figure, axes = _over_tasks(results, "Spearman's rank correlation")
    looks = styles(results.strategies, results.upper)
    for name, own in found.items():
        line_with_band(axes, np.arange(own.correlation.shape[1]), own.correlation, name, looks[name], decimals=2)
    axes.axhline(0, color="#888888", lw=0.8)
    axes.set_ylim(-1.08, 1.08)
    return as_svg(figure, "more-correlation", "Rank correlation of discrepancy and exposure weight after each task")


def _schedule(results: Results, found: Mapping[str, Rebalancing]) -> Markup:
    figure, axes = _over_tasks(results, "factor of the term")
    looks = styles(results.strategies, results.upper)
    steps = np.arange(len(results.task_names) * STEPS + 1)
    for name, own in found.items():
        if "amplitude" in own.options:
            factor = float(own.options["amplitude"]) * np.array([half_sine(int(step) % STEPS, STEPS) for step in steps])
            (line,) = axes.plot(steps / STEPS - 0.5, factor, looks[name].dashes, color=looks[name].colour, lw=1.7)
            titled(line, f"{name}: {own.options['amplitude']} in the middle of each task")
    axes.set(xlabel="while training task t")
    axes.set_ylim(bottom=0)
    return as_svg(figure, "more-schedule", "Factor of the rebalancing term over the steps of each task, per strategy")


def _over_tasks(results: Results, ylabel: str) -> tuple[Figure, Axes]:
    names = results.task_names
    figure = Figure(figsize=(3.7, 2.9))
    axes = figure.add_subplot()
    axes.set(xlabel="after training task t", ylabel=ylabel, xlim=(-0.55, len(names) - 0.45))
    ticks = thinned(list(range(len(names))), 8)
    axes.set_xticks(ticks, [names[tick] for tick in ticks])
    axes.grid(axis="y", color=FAINT, lw=0.6)
    return figure, axes


def _layers(results: Results, name: str, layers: list[str], mean: Floats, scale: LogNorm) -> Markup:
    tasks = results.task_names
    figure = Figure(figsize=(4.6, 0.9 + 0.2 * len(layers)))
    axes = figure.add_subplot()
    axes.pcolormesh(np.ma.masked_less_equal(mean, 0), cmap=MAP_COLOURS, norm=scale, edgecolors="white", lw=0.8)
    axes.set(xlabel="after training task t", ylim=(len(layers), 0))
    ticks = thinned(list(range(len(tasks))))
    axes.set_xticks([tick + 0.5 for tick in ticks], [tasks[tick] for tick in ticks])
    labels = [layer.removeprefix("backbone.") for layer in layers]
    axes.set_yticks([place + 0.5 for place in range(len(layers))], labels, fontsize=7)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if len(tasks) <= MOST_NUMBERED_TASKS:
        for layer, t in np.argwhere(~np.isnan(mean)):
            ink = "white" if mean[layer, t] > 0 and scale(mean[layer, t]) > 0.55 else INK
            axes.text(t + 0.5, layer + 0.5, f"{mean[layer, t]:.2g}", ha="center", va="center", color=ink, size=7)
    rank = results.strategies.index(name)
    return as_svg(figure, f"more-layers-{rank}", f"Size of BA relative to W in percent by layer and task, {name}")


def _scatter(results: Results, name: str, own: Rebalancing, groups: list[str]) -> Markup:
    weight, discrepancy = own.weight[:, -1].mean(axis=0), own.discrepancy[:, -1].mean(axis=0)  # [C]
    names = results.stream_run.record.class_names
    figure = Figure(figsize=(4.6, 3.3))
    axes = figure.add_subplot()
    known = np.flatnonzero(~np.isnan(weight * discrepancy))
    for column in known:
        marker, colour = GROUP_LOOKS[groups[column]]
        (point,) = axes.plot(weight[column], discrepancy[column], marker, color=colour, markersize=6, alpha=0.85)
        about = f" ({groups[column]})" if groups[column] else ""
        titled(point, f"{names[column]}{about}: weight {weight[column]:.3g}, discrepancy {discrepancy[column]:.3g}")
        if len(known) <= MOST_NAMED_CLASSES:
            place = weight[column], discrepancy[column]
            axes.annotate(names[column], place, xytext=(5, 3), textcoords="offset points", size=8)
    for axis, values in ((axes.xaxis, weight), (axes.yaxis, discrepancy)):
        if values[known].min() > 0:  # a log has no 0
            axes.set(**{f"{axis.axis_name}scale": "log"})
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set(xlabel="exposure weight of the class", ylabel="discrepancy of the two paths")
    axes.grid(color=FAINT, lw=0.6)
    rank = results.strategies.index(name)
    return as_svg(figure, f"more-classes-{rank}", f"Discrepancy against exposure weight of each class, {name}")
