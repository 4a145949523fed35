"""Model rebalancing (MORE) in the runs that have it: numbers, table, and the alarm where it collapsed.

All numbers come from what a run has logged; `clsim.training.more.plugin` says what they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clsim.report.intervals import standard_deviation
from clsim.report.results import NO_VALUE, Results
from clsim.report.run_result import RunResult
from clsim.report.section import Figures, Section, Table
from clsim.report.tables import Rows, fixed
from clsim.running.logged_values import read_logged
from clsim.vocabulary import (
    MORE_COLLAPSED,
    MORE_CORRELATION,
    MORE_DISCREPANCY,
    MORE_LOW_RANK,
    MORE_OF_LAYER,
    MORE_TAIL_TO_HEAD,
    MORE_WEIGHT,
)

Floats = NDArray[np.float64]
WHAT_IT_DOES = (
    "While it trains a task, MORE adds a low-rank part BA to each weight and penalises frequent classes for using it. "
    "It has an effect where BA stays above zero, and where the two paths differ most for the rarest classes."
)
TABLE_CAPTION = (
    "After the last task. ‖BA‖ / ‖W‖: mean over layers when the parts were merged; least: minimum over the tasks. "
    "Rank correlation (Spearman) of the classes' discrepancy and weight: below zero the rare classes use BA. Tail to "
    "head: discrepancy of the third of the classes seen least over that of the third seen most. Collapsed: number of "
    "tasks, over all seeds, with a mean below 1 %."
)
COURSES_CAPTION = (
    "Mean over seeds, bands from the lowest to the highest seed. Below the dotted line at 1 % the low-rank parts count "
    "as collapsed. Schedule: the factor A\u2032 sin(πτ/T) of the term over the steps τ = 0 … T of each task."
)
LAYERS_CAPTION = (
    "‖BA‖ / ‖W‖ in percent of each layer when a task's parts were merged, mean over seeds; one logarithmic scale of "
    "colours for all. Empty cells are zero."
)
CLASSES_CAPTION = (
    "Each class in the last task, mean over seeds: squared difference of the two paths' logits against its weight, "
    "which grows with its frequency in training. If BA serves the rare classes, the marks fall from left to right."
)
HEADINGS = (
    *("Strategy", "Seeds", "Amplitude A'", "Rank share", "‖BA‖ / ‖W‖ in %", "Least ‖BA‖ / ‖W‖ in %"),
    *("Rank correlation", "Tail to head", "Collapsed"),
)


@dataclass(frozen=True)
class Rebalancing:
    """The course of MORE in the runs of one strategy; NaN where undefined or not recorded.

    Attributes:
        seeds: of the runs.
        options: of the part `more`, of the first run; empty where it is another's part.
        layers: names of the decomposed layers.
        low_rank: ||BA|| / ||W|| when a task's parts were merged, the mean over layers, float64 [seed, T].
        by_layer: of each layer, float64 [seed, T, layer].
        correlation: Spearman's, of discrepancy and weight over the classes, float64 [seed, T].
        tail_to_head: discrepancy of the third least seen over that of the third most seen, float64 [seed, T].
        weight, discrepancy: of each class, float64 [seed, T, C].
    """

    seeds: list[int]
    options: Mapping[str, Any]
    layers: list[str]
    low_rank: Floats
    by_layer: Floats
    correlation: Floats
    tail_to_head: Floats
    weight: Floats
    discrepancy: Floats

    @property
    def collapsed(self) -> NDArray[np.bool_]:
        """Tasks after which the log warned, bool [seed, T]."""
        return self.low_rank < MORE_COLLAPSED


def section(results: Results) -> Section | None:
    """Return tables and figures of model rebalancing; None if no run has it."""
    from clsim.strategies.report_sections import more_figures

    found = rebalancings(results)
    if not found:
        return None
    parts: list[str | Table | Figures] = [WHAT_IT_DOES, Table("Model rebalancing", more_table(found), TABLE_CAPTION)]
    parts.append(
        Figures("courses", more_figures.course_figures(results, found), COURSES_CAPTION, strategies=list(found))
    )
    if layers := more_figures.layer_figures(results, found):
        parts.append(Figures("layers", layers, LAYERS_CAPTION, wide=True))
    if classes := more_figures.class_figures(results, found):
        glyphs = more_figures.GROUP_GLYPHS
        parts.append(Figures("classes", classes, CLASSES_CAPTION, marks=glyphs, wide=True))
    return Section(
        "more",
        "Model rebalancing",
        parts,
        link="Rebalancing",
        alarms=alarms(found),
        alarm="Low-rank parts of MORE have collapsed",
    )


def rebalancings(results: Results) -> dict[str, Rebalancing]:
    """Strategy -> its course of MORE, of the strategies of whose every seed it is recorded."""
    found = {}
    for name in results.strategies:
        runs = results.of(name)
        lines = [_lines(run) for run in runs]
        if all(lines):
            found[name] = _course(runs, lines)
    return found


def _lines(run: RunResult) -> dict[int, dict[str, Any]]:
    """Values after each task that MORE was part of, by task; of a task run again the last."""
    lines = read_logged(run.files, holding=f'"{MORE_LOW_RANK}"')
    return {int(line["task"]): line["values"] for line in lines}


def _course(runs: Sequence[RunResult], lines: Sequence[Mapping[int, Mapping[str, Any]]]) -> Rebalancing:
    tasks, classes = range(len(runs[0].record.tasks)), runs[0].record.class_names
    recorded = (tag for run in lines for values in run.values() for tag in values)
    tags = dict.fromkeys(tag for tag in recorded if tag.startswith(MORE_OF_LAYER))

    def table(tag: str) -> Floats:
        """[seed, T] of one tag."""
        return np.array([[run.get(task, {}).get(tag) for task in tasks] for run in lines], dtype=float)

    def tables(tags: Sequence[str]) -> Floats:
        return np.stack([table(tag) for tag in tags], axis=-1) if tags else np.empty((len(runs), len(tasks), 0))

    return Rebalancing(
        seeds=[run.seed for run in runs],
        options=runs[0].record.options.get("more", {}),
        layers=[tag.removeprefix(MORE_OF_LAYER) for tag in tags],
        low_rank=table(MORE_LOW_RANK),
        by_layer=tables(list(tags)),
        correlation=table(MORE_CORRELATION),
        tail_to_head=table(MORE_TAIL_TO_HEAD),
        weight=tables([MORE_WEIGHT + name for name in classes]),
        discrepancy=tables([MORE_DISCREPANCY + name for name in classes]),
    )


def more_table(found: Mapping[str, Rebalancing]) -> Rows:
    """Heading, then a row per strategy with MORE: after the last task, mean ± sample std over the seeds."""
    rows: Rows = [HEADINGS]
    for name, own in found.items():
        options = [str(own.options.get(key, NO_VALUE)) for key in ("amplitude", "rank")]
        sizes = (_mean_and_std(100 * own.low_rank[:, -1]), _mean_and_std(100 * own.low_rank.min(axis=1)))
        ranks = (_mean_and_std(own.correlation[:, -1]), _mean_and_std(own.tail_to_head[:, -1]))
        collapsed = f"{int(own.collapsed.sum())} of {own.collapsed.size} tasks"
        rows.append((name, str(len(own.seeds)), *options, *sizes, *ranks, collapsed))
    return rows


def alarms(found: Mapping[str, Rebalancing]) -> list[str]:
    """A sentence for each strategy whose low-rank parts have collapsed in some task."""
    sentences = []
    for name, own in found.items():
        where = [
            f"seed {seed} after {'every task' if tasks.all() else 'task ' + ', '.join(map(str, np.flatnonzero(tasks)))}"
            for seed, tasks in zip(own.seeds, own.collapsed, strict=True)
            if tasks.any()
        ]
        if where:
            sentences.append(
                f"{name}: the low-rank parts of MORE have collapsed ({'; '.join(where)}): mean ‖BA‖ / ‖W‖ is below "
                f"{MORE_COLLAPSED:.0%}, so that the model is hardly more than its general path. A smaller amplitude, a "
                "larger rank or lr_factor, or init_b above 0 keep them alive."
            )
    return sentences


def _mean_and_std(values: Floats) -> str:
    std = standard_deviation(values)
    return fixed(float(values.mean()), 2) + ("" if math.isnan(std) else f" ± {fixed(std, 2)}")
