"""False positives of old and new classes: how often they are predicted, and how often they are present."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from clsim.report.figures import FAINT, SETTINGS, as_svg, line_with_band, styles, thinned
from clsim.report.results import NO_VALUE, Results
from clsim.report.tables import number
from clsim.vocabulary import AT_THRESHOLD_BY_BLOCK

HEADINGS = (
    *("Strategy", "Old: predicted", "Old: present", "New: predicted", "New: present"),
    *("FPR old\u00a0↓", "FPR new\u00a0↓"),
)
RATIOS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)


def imbalance_tables(results: Results) -> list[tuple[str, list[tuple[str, ...]]]]:
    """Per threshold, ascending, one row per strategy: the cells of HEADINGS as text. Only recorded thresholds."""
    rows = results.summaries
    tables = []
    for at in results.thresholds:
        if any(run.record.at(at).last.get(name) is not None for run in results.runs for name in AT_THRESHOLD_BY_BLOCK):
            names = ("predicted_old@", "present_old", "predicted_new@", "present_new", "FPR_old@", "FPR_new@")
            metrics = [f"{name}{at}" if name.endswith("@") else name for name in names]
            tables.append((at, [(row["strategy"], *(number(row, name) for name in metrics)) for row in rows]))
    return tables


def ratio_figures(results: Results) -> list[tuple[str, Markup]]:
    """Threshold and figure: predicted over present of the old classes, over the tasks; only where it is defined."""
    found = {}
    for at in results.thresholds:
        courses = {name: old_ratio(results, name, at)[:, 1:] for name in results.strategies}  # the first has no old
        courses = {name: course for name, course in courses.items() if not np.isnan(course).all()}
        if courses:
            found[at] = courses
    highest = max((float(np.nanmax(course)) for courses in found.values() for course in courses.values()), default=1)
    with mpl.rc_context(SETTINGS):
        return [(at, _draw(results, at, courses, highest)) for at, courses in found.items()]


def old_ratio(results: Results, strategy: str, threshold: str) -> NDArray[np.float64]:
    """Predicted over truly present share of the old classes after each task, float64 [seed, T].

    NaN where it is not recorded, or no old class is present.
    """
    runs = results.of(strategy)
    nothing = [None] * len(results.task_names)
    predicted = [run.record.at(threshold).courses.get("predicted_old") or nothing for run in runs]
    present = np.array([run.record.present.get("old") or nothing for run in runs], dtype=float)
    return np.array(predicted, dtype=float) / np.where(present > 0, present, np.nan)


def _draw(results: Results, threshold: str, courses: dict[str, NDArray[np.float64]], highest: float) -> Markup:
    names = results.task_names[1:]
    places = np.arange(len(names))
    looks = styles(results.strategies, results.upper)
    figure = Figure(figsize=(4.6, 3.1))
    axes = figure.add_subplot()
    axes.axhline(1, color="#222222", lw=1.2)
    for name, course in courses.items():
        line_with_band(axes, places, course, name, looks[name], decimals=2)
    top = max(2.0, 1.15 * highest)
    axes.set_yscale("symlog", linthresh=1)  # a strategy that predicts no old class lies at 0, which a log has not
    axes.set(xlabel="after training task t", ylabel="predicted / present, old classes", xlim=(-0.3, len(names) - 0.7))
    axes.set_ylim(-0.04, top)
    ratios = [ratio for ratio in RATIOS if ratio <= top]
    axes.set_yticks(ratios, [f"{ratio:g}" for ratio in ratios])
    axes.yaxis.set_minor_locator(NullLocator())
    ticks = thinned(list(range(len(names))))
    axes.set_xticks(ticks, [names[tick] for tick in ticks])
    axes.grid(axis="y", color=FAINT, lw=0.6)
    ends = {name: course[:, -1].mean() for name, course in courses.items()}
    lasts = ", ".join(f"{name} {NO_VALUE if np.isnan(end) else f'{end:.2f}'}" for name, end in ends.items())
    label = f"Predicted over present of the old classes after each task, p > {threshold}; after the last: {lasts}"
    return as_svg(figure, f"ratio-{results.thresholds.index(threshold)}", label)
