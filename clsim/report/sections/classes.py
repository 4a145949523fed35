"""AP of each class: a panel with its course over the tasks, and a table with its last value, which can be printed.

The panels are SVG by hand: eighty figures must stay light.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from clsim.report.figures import Style, course_text, styles
from clsim.report.results import NO_VALUE, Results
from clsim.report.tables import Rows, mean_and_std
from clsim.running.record import RunRecord

WIDTH, HEIGHT = 150, 90
LEFT, RIGHT, TOP, BOTTOM = 21, 146, 7, 74
HIGHEST = (20, 40, 60, 80, 100)
SHAPES = {  # a marker of `Style` around the origin, for the end of a line
    "o": "m-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0z",
    "s": "m-2.6-2.6h5.2v5.2h-5.2z",
    "^": "m0-3.4l3.2 5.8h-6.4z",
    "D": "m0-3.4l3.4 3.4l-3.4 3.4l-3.4-3.4z",
    "v": "m0 3.4l3.2-5.8h-6.4z",
    "*": "m0-4l1 2.7l2.8.1l-2.2 1.8l.8 2.8l-2.4-1.6l-2.4 1.6l.8-2.8l-2.2-1.8l2.8-.1z",
    "X": "m-3-2l1-1l2 2l2-2l1 1l-2 2l2 2l-1 1l-2-2l-2 2l-1-1l2-2z",
}


@dataclass(frozen=True)
class Panel:
    """A class as the page shows it; group is empty and positives None where the runs do not record them."""

    name: str
    group: str
    positives: int | None
    svg: Markup


def class_panels(results: Results) -> list[Panel]:
    """A panel for each class in stream order; none where no run recorded the AP of the classes."""
    courses = {}
    for strategy in results.strategies:
        tables = [run.record.AP for run in results.of(strategy)]
        if all(table is not None for table in tables):
            courses[strategy] = np.array(tables, dtype=float).mean(axis=0)  # [task, class], NaN where a seed has none
    if not courses:
        return []
    record = results.stream_run.record
    group, positives = record.groups.by_class(), record.groups.positives
    looks = styles(results.strategies, results.upper)
    highest = max((float(np.nanmax(table)) for table in courses.values() if not np.isnan(table).all()), default=0.0)
    axes = _Axes(next(top for top in HIGHEST if top >= highest), results.task_names)
    return [
        Panel(
            name=name,
            group=group.get(name, ""),
            positives=None if positives is None else positives[column],
            svg=_svg(name, {strategy: table[:, column] for strategy, table in courses.items()}, looks, axes),
        )
        for column, name in enumerate(record.class_names)
    ]


def class_table(results: Results) -> Rows:
    """Return headings and a row per class: its name, group, positives, and its last AP with each strategy.

    Classes are in the order of the stream; AP is in percent, mean ± sample standard deviation over the runs. Positives
    that differ between class orders are left out. Empty where no run recorded the AP of the classes.
    """
    recorded = {name: [run.record for run in results.of(name)] for name in results.strategies}
    known = {name: records for name, records in recorded.items() if all(record.AP is not None for record in records)}
    if not known:
        return []
    rows: Rows = [("Class", "Group", "Positives", *known)]
    for name in results.stream_run.record.class_names:
        values = ([_last_ap(record, name) for record in records] for records in known.values())
        rows.append((name, *_group_and_positives(results, name), *map(mean_and_std, values)))
    return rows


def _last_ap(record: RunRecord, name: str) -> float:
    """Return the AP of a class after the last task, percent, NaN where undefined."""
    if record.AP is None or name not in record.class_names:
        return math.nan
    value = record.AP[-1][record.class_names.index(name)]
    return math.nan if value is None else value


def _group_and_positives(results: Results, name: str) -> tuple[str, str]:
    """Return what the runs agree on, a dash otherwise."""
    groups: set[str] = set()
    positives: set[str] = set()
    for record in (run.record for run in results.runs if not run.record.derived_from):
        counts = record.groups.positives
        groups.add(record.groups.by_class().get(name, NO_VALUE))
        found = counts is not None and name in record.class_names
        positives.add(str(counts[record.class_names.index(name)]) if counts and found else NO_VALUE)
    group, count = (each.pop() if len(each) == 1 else NO_VALUE for each in (groups, positives))
    return group, count


@dataclass(frozen=True)
class _Axes:
    """The axes that all panels share: AP from 0 to `top` percent, and the tasks by their index."""

    top: int
    tasks: list[str]

    def x(self, place: int) -> float:
        share = place / (len(self.tasks) - 1) if len(self.tasks) > 1 else 0.5
        return round(LEFT + 4 + (RIGHT - LEFT - 8) * share, 1)

    def y(self, value: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * value / self.top, 1)

    def line(self, course: NDArray[np.float64]) -> str:
        """Path data through the defined values of `course` [task]; a gap begins a new line."""
        steps, pen = [], "M"
        for place, value in enumerate(course):
            if np.isnan(value):
                pen = "M"
                continue
            steps.append(f"{pen}{self.x(place):g} {self.y(value):g}")
            pen = "L"
        return "".join(steps)

    def drawn(self) -> list[str]:
        parts = [f'<path class="rule" d="M{LEFT} {self.y(v):g}H{RIGHT}"/>' for v in (0, self.top / 2, self.top)]
        parts += [f'<text x="{LEFT - 4}" y="{self.y(v) + 3:g}" text-anchor="end">{v}</text>' for v in (0, self.top)]
        parts.append(f'<text x="{LEFT}" y="{HEIGHT - 3}">task {self.tasks[0]}</text>')
        if len(self.tasks) > 1:
            parts.append(f'<text x="{RIGHT}" y="{HEIGHT - 3}" text-anchor="end">{self.tasks[-1]}</text>')
        return parts


def _svg(name: str, courses: dict[str, NDArray[np.float64]], looks: dict[str, Style], axes: _Axes) -> Markup:
    """The panel of a class from AP in percent [task] of each strategy."""
    parts = axes.drawn()
    for strategy, course in courses.items():
        if np.isnan(course).all():
            continue
        look, last = looks[strategy], np.flatnonzero(~np.isnan(course))[-1]
        dashes = {"--": ' stroke-dasharray="5 3"', "-.": ' stroke-dasharray="5 2 1 2"'}.get(look.dashes, "")
        end = f"M{axes.x(last):g} {axes.y(course[last]):g}{SHAPES[look.marker]}"
        parts.append(
            f'<g stroke="{look.colour}" fill="{look.colour}"><title>{escape(strategy)}: {course_text(course)}</title>'
            f'<path class="hit" d="{axes.line(course)}"/><path class="line" d="{axes.line(course)}"{dashes}/>'
            f'<path d="{end}" stroke="none"/></g>'
        )
    if all(np.isnan(course).all() for course in courses.values()):
        x, y = (LEFT + RIGHT) / 2, axes.y(axes.top / 2) - 4
        parts.append(f'<text x="{x:g}" y="{y:g}" text-anchor="middle">not defined</text>')
    lasts = ", ".join(f"{strategy} {course_text(course[-1:])}" for strategy, course in courses.items())
    label = escape(f"AP of {name} after each task; after the last: {lasts}")
    return Markup(f'<svg role="img" aria-label="{label}" viewBox="0 0 {WIDTH} {HEIGHT}">{"".join(parts)}</svg>')
