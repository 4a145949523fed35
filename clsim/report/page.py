"""The comparison report: one self-contained HTML page, and beside it tables for papers, notes and code."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from clsim.errors import storage_errors
from clsim.experiment.run_folder import SEED_FOLDERS
from clsim.files import write_atomically
from clsim.report import figures, tables
from clsim.report.facts import (
    config_differences,
    environments,
    expected_rows,
    source,
    strategy_notes,
    warnings_of,
)
from clsim.report.intervals import RESAMPLES
from clsim.report.mean_curves import write_overlays
from clsim.report.results import ORDER_FOLDER, Results, joined, load_results, order_folders
from clsim.report.sections import distance_to_joint, groups, imbalance, memory, more, more_figures
from clsim.report.sections.classes import class_panels
from clsim.report.significance import against, choose_baseline
from clsim.report.text import write_tables
from clsim.vocabulary import GROUPS


def write_report(
    directory: str | Path,
    out: str | Path | None = None,
    order: Sequence[str] | None = None,
    baseline: str | None = None,
) -> Path:
    """Write the report of the runs below `directory` to `out`, or to `directory`; see `write_reports`.

    Args:
        directory: holds <strategy>/seed<k>, or order<k>/<strategy>/seed<k> for several class orders.
        out: folder to write to.
        order: of the strategies; those it does not name follow by name.
        baseline: the strategy that the others are compared with, seed by seed; None: finetune, else the first.

    Raises:
        RunError: no run, a damaged one, runs of different streams, an unknown baseline.
    """
    home = Path(directory)
    orders = [] if any(home.glob(SEED_FOLDERS)) else order_folders(home)
    return write_reports(orders or [home], out if out is not None else home, order, baseline)


def write_reports(
    folders: Sequence[Path], out: str | Path, order: Sequence[str] | None = None, baseline: str | None = None
) -> Path:
    """Write report.html and the files of `text.write_tables` for the runs of each folder into `out`.

    Several folders are class orders. Each has a report of its own, in the folder of its name below `out`, because
    classes and tasks differ; the tables in `out` itself are over all. Each file appears whole or not at all. Beside
    the runs, if `out` is where they are, the mean curves of each strategy for TensorBoard are written too. Returns the
    (last) page.

    Raises:
        RunError: also a full disk and its like, naming the file.
    """
    with storage_errors(Path(out)):
        return _write_reports(folders, Path(out), order, baseline)


def _write_reports(folders: Sequence[Path], out: Path, order: Sequence[str] | None, baseline: str | None) -> Path:
    parts = [load_results(folder, order) for folder in folders]
    everything = joined(out, parts)
    chosen = choose_baseline(everything, baseline)
    if all(ORDER_FOLDER.fullmatch(folder.name) for folder in folders):
        pages = [_write(part, out / part.directory.name, chosen) for part in parts]
        write_tables(everything, out, chosen)
        if out.resolve() == folders[0].resolve().parent:
            write_overlays(everything)
        return pages[-1]
    return _write(parts[0], out, chosen)


def _write(results: Results, folder: Path, baseline: str) -> Path:
    own = baseline if baseline in results.strategies else None  # in this class order none of its runs may have finished
    page = render_html(results, own)
    write_tables(results, folder, own)
    write_atomically(folder / "report.html", page)
    if folder.resolve() == results.directory.resolve():
        write_overlays(results)
    return folder / "report.html"


def render_html(results: Results, baseline: str | None = None) -> str:
    """The report page: no file, font, script or address besides itself; equal results give an equal page."""
    environment = Environment(
        loader=PackageLoader("clsim.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["minus"] = lambda text: text.replace("-", "\u2212")
    environment.tests["best"] = lambda text: isinstance(text, tables.Best)
    return environment.get_template("report.html").render(
        **_what_ran(results),
        **_compared(results, choose_baseline(results, baseline)),
        **_drawn(results),
        **_more(results),
    )


def _what_ran(results: Results) -> dict[str, Any]:
    """The stream, the runs and what makes them differ."""
    run = results.reference
    return {
        "scenario": run.record.scenario,
        "source": source(results),
        "plan": run.stream,
        "run": run,
        "results": results,
        "seeds": sorted({run.seed for run in results.runs}),
        "styles": figures.styles(results.strategies, results.upper),
        "strategy_notes": strategy_notes(results),
        "warnings": warnings_of(results),
        "options": [(name, json.dumps(results.of(name)[0].record.options)) for name in results.strategies],
        "environment": environments(results),
        "config_differences": config_differences(results),
    }


def _compared(results: Results, baseline: str) -> dict[str, Any]:
    """Every table of numbers."""
    return {
        "final_table": tables.final_table(results),
        "accuracy_table": tables.accuracy_table(results),
        "baseline": baseline,
        "difference_headings": tables.difference_headings(baseline),
        "difference_tables": tables.difference_tables(against(results, baseline), baseline),
        "most_pairs": max(len(results.of(name)) for name in results.strategies),
        "resamples": RESAMPLES,
        "distance_table": distance_to_joint.distance_table(results),
        "upper": results.upper,
        "cost_table": tables.cost_table(results),
        "expected": expected_rows(results),
        "threshold_headings": tables.THRESHOLD_HEADINGS,
        "threshold_tables": tables.threshold_tables(results),
        "imbalance_headings": imbalance.HEADINGS,
        "imbalance_tables": imbalance.imbalance_tables(results),
        "memory_table": memory.memory_table(results),
        "group_table": groups.forgetting_table(results),
    }


def _drawn(results: Results) -> dict[str, Any]:
    """Every figure, and what stands beside it."""
    drawn = figures.draw(results)
    means = {row["strategy"]: row["forgetting_mean"] for row in results.summaries}
    return {
        "figures": drawn,
        "matrices": [(name, drawn[f"matrix-{rank}"]) for rank, name in enumerate(results.strategies)],
        "no_forgetting": [name for name in results.strategies if math.isnan(means[name])],
        "intransigence_figure": distance_to_joint.intransigence_figure(results),
        "groups": results.reference.record.groups,
        "group_names": GROUPS,
        "group_figure": groups.last_figure(results),
        "group_courses": groups.course_figures(results),
        "class_panels": class_panels(results),
        "label_figures": memory.label_figures(results),
        "wide_labels": len(results.task_names) > memory.MOST_BESIDE,
        "label_legend": memory.LEGEND,
        "ratio_figures": imbalance.ratio_figures(results),
    }


def _more(results: Results) -> dict[str, Any]:
    """What model rebalancing did; empty tables and figures where no run has it."""
    found = more.rebalancings(results)
    if not found:
        return {"more_table": [], "more_alarms": []}
    return {
        "more_table": more.more_table(found),
        "more_alarms": more.alarms(found),
        "more_courses": more_figures.course_figures(results, found),
        "more_layers": more_figures.layer_figures(results, found),
        "more_classes": more_figures.class_figures(results, found),
        "more_groups": more_figures.GROUP_GLYPHS,
    }
