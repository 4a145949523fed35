"""Head, medium and tail classes: their mAP over the tasks and after the last one, and what they forget."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from numpy.typing import NDArray

from clsim.report.figures import FAINT, SETTINGS, as_svg, line_with_band, stems, styles, thinned
from clsim.report.results import Results
from clsim.report.tables import Rows, number
from clsim.vocabulary import GROUPS


def forgetting_table(results: Results) -> Rows:
    """Heading, then a row per strategy: forgetting of head, medium and tail classes in percent points."""
    rows: Rows = [("Strategy", *(f"{group.capitalize()} forgetting\u00a0↓" for group in GROUPS))]
    for row in results.summaries:
        rows.append((row["strategy"], *(number(row, f"{group}_forgetting") for group in GROUPS)))
    return rows


def last_figure(results: Results) -> Markup | None:
    """mAP of head, medium and tail classes after the last task, in percent; None where no run has groups."""
    values = {}
    for name in results.strategies:
        rows = [run.record.groups.last_mAP for run in results.of(name)]
        table = np.array([[row.get(group) for group in GROUPS] for row in rows], dtype=float)  # [seed, group]
        if not np.isnan(table).all():
            values[name] = table
    if not values:
        return None
    with mpl.rc_context(SETTINGS):
        figure = stems(results, values, list(GROUPS), "", "mAP after the last task (%)")
        return as_svg(figure, "groups", "mAP after the last task of head, medium and tail classes per strategy")


def course_figures(results: Results) -> list[tuple[str, Markup]]:
    """Group and figure of its mAP after each task, on one scale; none where no run recorded the courses."""
    courses = {group: _courses(results, group) for group in GROUPS}
    highest = max((float(np.nanmax(table)) for own in courses.values() for table in own.values()), default=0.0)
    top = min(100.0, 10 * np.ceil(highest / 10 + 0.1))
    with mpl.rc_context(SETTINGS):
        return [(group, _draw(results, group, own, top)) for group, own in courses.items() if own]


def _courses(results: Results, group: str) -> dict[str, NDArray[np.float64]]:
    """Strategy -> mAP of the seen classes of a group after each task, percent, float64 [seed, T], where defined."""
    nothing = [None] * len(results.task_names)
    found = {}
    for name in results.strategies:
        recorded = [run.record.groups.mAP.get(group) for run in results.of(name)]
        table = np.array([course or nothing for course in recorded], dtype=float)
        if not np.isnan(table).all():
            found[name] = table
    return found


def _draw(results: Results, group: str, courses: dict[str, NDArray[np.float64]], top: float) -> Markup:
    names = results.task_names
    places = np.arange(len(names))
    looks = styles(results.strategies, results.upper)
    figure = Figure(figsize=(3.7, 2.9))
    axes = figure.add_subplot()
    for name, table in courses.items():
        line_with_band(axes, places, table, name, looks[name])
    axes.set(xlabel="after training task t", ylabel="mAP (%)", xlim=(-0.3, len(names) - 0.7), ylim=(0, top))
    ticks = thinned(list(range(len(names))), 8)
    axes.set_xticks(ticks, [names[tick] for tick in ticks])
    axes.grid(axis="y", color=FAINT, lw=0.6)
    return as_svg(figure, f"course-{group}", f"mAP of the seen {group} classes after each task, per strategy")
