"""The page of a comparison: one self-contained HTML file."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from clsim.report import figures, tables
from clsim.report.compared import Compared
from clsim.report.facts import config_differences, environments, online, own_metrics, source, warnings_of
from clsim.report.headline import METRIC, headline
from clsim.report.intervals import RESAMPLES
from clsim.report.loads import load_note
from clsim.report.origin import changes, commands, dates
from clsim.report.results import NO_VALUE, Results
from clsim.report.sections import calibration, distance_to_joint, groups, imbalance, memory
from clsim.report.sections.classes import class_panels, class_table
from clsim.vocabulary import GROUPS


@dataclass(frozen=True)
class OrderPage:
    """One class order on the page over all of them: its results, and the address of its own page from there."""

    results: Results
    page: str


def render_html(compared: Compared, orders: Sequence[OrderPage] = ()) -> str:
    """Return the page: no file, font or script besides itself; equal results give an equal page.

    Args:
        compared: the runs; of several class orders all of them.
        orders: the class orders, if there are several; what depends on the order is then left to their own pages.
    """
    environment = Environment(
        loader=PackageLoader("clsim.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["minus"] = lambda text: text.replace("-", "\u2212")
    environment.tests["best"] = lambda text: isinstance(text, tables.Best)
    environment.tests["leader"] = lambda text: isinstance(text, tables.Leader)
    return environment.get_template("report.html").render(
        **_runs_content(compared),
        **_tables(compared),
        **_figures_content(compared.results),
        **_orders_content(compared.results, orders),
        sections=compared.sections.shown,
    )


def _runs_content(compared: Compared) -> dict[str, Any]:
    """The stream, the runs and how they differ."""
    results = compared.results
    run = results.stream_run
    warnings = [*warnings_of(results), *compared.sections.problems]
    return {
        "scenario": run.record.scenario,
        "headline": headline(results),
        "dates": dates(results.runs),
        "commands": commands(results.runs),
        "changes": changes(results),
        "source": source(results),
        "online": online(results),
        "plans": list(dict.fromkeys(run.stream for run in results.runs)),
        "run": run,
        "results": results,
        "seeds": sorted({run.seed for run in results.runs}),
        "styles": figures.styles(results.strategies, results.upper),
        "strategy_notes": compared.notes,
        "warnings": warnings,
        "remarks": len(warnings) + sum(bool(section.alarms) for section in compared.sections.shown),
        "options": [(name, json.dumps(results.of(name)[0].record.options)) for name in results.strategies],
        "environment": environments(results),
        "config_differences": config_differences(results),
    }


def _tables(compared: Compared) -> dict[str, Any]:
    """Every table of numbers."""
    results = compared.results
    return {
        "final_table": compared.final,
        "leading": _leading(results),
        "load_note": load_note(results),
        "accuracy_table": compared.accuracy,
        "ranking_table": compared.ranking,
        "prevalence_table": calibration.prevalence_table(results),
        "own_metrics_table": compared.own_metrics,
        "own_metrics": own_metrics(results),
        "baseline": compared.baseline,
        "difference_headings": tables.difference_headings(compared.baseline),
        "difference_tables": compared.differences,
        "chances": tables.task_chances(results),
        "most_pairs": max(len(results.of(name)) for name in results.strategies),
        "resamples": RESAMPLES,
        "distance_table": compared.distance,
        "upper": results.upper,
        "cost_table": compared.cost,
        "expected": compared.expected,
        "threshold_headings": tables.THRESHOLD_HEADINGS,
        "threshold_tables": tables.threshold_tables(results),
        "imbalance_headings": imbalance.HEADINGS,
        "imbalance_tables": imbalance.imbalance_tables(results),
        "memory_table": memory.memory_table(results),
        "group_table": groups.forgetting_table(results),
    }


def _leading(results: Results) -> dict[str, dict[str, str]]:
    """Return the mark of the row of the best method by the metric of the headline."""
    found = results.leaders.get(METRIC)
    if found is None:
        return {}
    leader, significant = found
    text = "best" if significant else "best mean, may be chance"
    return {leader: {"kind": "best-row" if significant else "leader-row", "text": text}}


def _orders_content(results: Results, orders: Sequence[OrderPage]) -> dict[str, Any]:
    """Return a row per class order, and what depends on the order unless there are several."""
    rows = []
    for order in orders:
        summaries = {row["strategy"]: row for row in order.results.summaries}
        known = [
            tables.number(summaries[name], METRIC) if name in summaries else NO_VALUE for name in results.strategies
        ]
        classes = (", ".join(task.classes) for task in order.results.stream_run.record.tasks)
        name = order.results.directory.name
        chance = tables.task_chances(order.results)[-1][1]
        row = {"name": name, "page": order.page, "last_mAP": known, "chance": chance, "tasks": " | ".join(classes)}
        rows.append(row)
    return {
        "orders": rows,
        "class_panels": [] if orders else class_panels(results),
        "class_table": class_table(results),
    }


def _figures_content(results: Results) -> dict[str, Any]:
    """Every figure, and what stands beside it."""
    drawn = figures.draw(results)
    means = {row["strategy"]: row["forgetting_mean"] for row in results.summaries}
    return {
        "figures": drawn,
        "matrices": [(name, drawn[f"matrix-{rank}"]) for rank, name in enumerate(results.strategies)],
        "matrix_chance": tables.matrix_chance(results),
        "no_forgetting": [name for name in results.strategies if math.isnan(means[name])],
        "reliability_figure": calibration.reliability_figure(results),
        "intransigence_figure": distance_to_joint.intransigence_figure(results),
        "groups": results.stream_run.record.groups,
        "group_names": GROUPS,
        "group_figure": groups.last_figure(results),
        "group_courses": groups.course_figures(results),
        "label_figures": memory.label_figures(results),
        "wide_labels": len(results.task_names) > memory.MOST_BESIDE,
        "label_legend": memory.LEGEND,
        "ratio_figures": imbalance.ratio_figures(results),
    }
