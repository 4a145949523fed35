"""One small panel per class: its AP after each task, per strategy. SVG by hand, because eighty figures must stay light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from clsim.experiment.report_figures import Style, styles
from clsim.experiment.results import GROUPS, NO_VALUE, Results

WIDTH, HEIGHT = 168, 90
LEFT, RIGHT, TOP, BOTTOM = 22, 160, 6, 76
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
        tables = [run.result.get("AP") for run in results.of(strategy)]
        if all(table is not None for table in tables):
            courses[strategy] = np.array(tables, dtype=float).mean(axis=0)  # [task, class], NaN where a seed has none
    if not courses:
        return []
    result = results.reference.result
    recorded = result.get("groups") or {}
    group = {name: label for label in GROUPS for name in recorded.get("members", {}).get(label, [])}
    positives = recorded.get("positives")
    looks = styles(results.strategies)
    ends = [result["tasks"][place]["index"] for place in (0, -1)]
    return [
        Panel(
            name=name,
            group=group.get(name, ""),
            positives=None if positives is None else positives[column],
            svg=_svg(name, {strategy: table[:, column] for strategy, table in courses.items()}, looks, ends),
        )
        for column, name in enumerate(result["class_names"])
    ]


def _svg(name: str, courses: dict[str, NDArray[np.float64]], looks: dict[str, Style], ends: list[int]) -> Markup:
    """AP in percent [task] of each strategy; the same axes in every panel, 0 to 100 and from the first task to the last."""
    parts = [f'<path class="rule" d="M{LEFT} {y:g}H{RIGHT}"/>' for y in map(_y, (0, 50, 100))]
    parts += [f'<text x="{LEFT - 4}" y="{_y(value) + 3:g}" text-anchor="end">{value}</text>' for value in (0, 100)]
    defined = {strategy: course for strategy, course in courses.items() if not np.isnan(course).all()}
    tasks = len(next(iter(courses.values())))
    places = dict(zip(ends, (_x(0, tasks), _x(tasks - 1, tasks)), strict=True)) if tasks > 1 else {ends[0]: _x(0, 1)}
    parts += [f'<text x="{x:g}" y="{HEIGHT - 4}" text-anchor="middle">{task}</text>' for task, x in places.items()]
    if not defined:
        middle = (LEFT + RIGHT) // 2
        parts.append(f'<text x="{middle}" y="{_y(50) - 4:g}" text-anchor="middle">no positive test image</text>')
    for strategy, course in defined.items():
        look, last = looks[strategy], np.flatnonzero(~np.isnan(course))[-1]
        dashes = {"--": ' stroke-dasharray="5 3"', "-.": ' stroke-dasharray="5 2 1 2"'}.get(look.dashes, "")
        end = f"M{_x(last, tasks):g} {_y(course[last]):g}{SHAPES[look.marker]}"
        parts.append(
            f'<g stroke="{look.colour}" fill="{look.colour}"><title>{escape(strategy)}: {_text(course)}</title>'
            f'<path class="line" d="{_line(course)}"{dashes}/><path d="{end}" stroke="none"/></g>'
        )
    lasts = ", ".join(f"{strategy} {_text(course[-1:])}" for strategy, course in courses.items())
    label = escape(f"AP of {name} after each task; after the last: {lasts}")
    return Markup(f'<svg role="img" aria-label="{label}" viewBox="0 0 {WIDTH} {HEIGHT}">{"".join(parts)}</svg>')


def _line(course: NDArray[np.float64]) -> str:
    """Path data through the defined values; a gap begins a new line."""
    steps, pen = [], "M"
    for task, value in enumerate(course):
        if np.isnan(value):
            pen = "M"
            continue
        steps.append(f"{pen}{_x(task, len(course)):g} {_y(value):g}")
        pen = "L"
    return "".join(steps)


def _x(task: int, tasks: int) -> float:
    return round(LEFT + 4 + (RIGHT - LEFT - 8) * (task / (tasks - 1) if tasks > 1 else 0.5), 1)


def _y(value: float) -> float:
    return round(BOTTOM - (BOTTOM - TOP) * value / 100, 1)


def _text(values: NDArray[np.float64]) -> str:
    return ", ".join(NO_VALUE if np.isnan(value) else f"{value:.1f}" for value in values)
