"""Ranking and calibration: AUC, LRAP and ECE of each strategy, F1 at the visible prevalence, a reliability diagram."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from numpy.typing import NDArray

from clsim.report.figures import FAINT, SETTINGS, as_svg, course_text, styles, titled
from clsim.report.results import Results
from clsim.report.run_result import PREVALENCE
from clsim.report.tables import THRESHOLD_HEADINGS, Rows, number
from clsim.vocabulary import AT_THRESHOLD, CALIBRATION, RANKING

HEADINGS = {  # a no-break space keeps each arrow with its word
    "last_AUC": "Macro AUC\u00a0↑",
    "last_LRAP": "LRAP\u00a0↑",
    "last_ECE": "ECE\u00a0↓",
    "last_ECE_classes": "ECE of classes\u00a0↓",
}
assert list(HEADINGS) == [f"last_{name}" for name in (*RANKING, *CALIBRATION)]


def ranking_table(results: Results) -> Rows:
    """Heading, then one row per strategy after the last task; empty where no run recorded them."""
    if results.frame[list(HEADINGS)].isna().all(axis=None):
        return []
    rows: Rows = [("Strategy", *HEADINGS.values())]
    for row in results.summaries:
        rows.append((row["strategy"], *(number(row, metric, decimals=2) for metric in HEADINGS)))
    return rows


def prevalence_table(results: Results) -> Rows:
    """Heading, then one row per strategy: the metrics of AT_THRESHOLD at the visible prevalence; empty as above."""
    names = [f"{name}@{PREVALENCE}" for name in AT_THRESHOLD]
    if not set(names) <= set(results.metrics):
        return []
    rows = results.summaries
    return [THRESHOLD_HEADINGS, *((row["strategy"], *(number(row, name) for name in names)) for row in rows)]


def reliability_points(results: Results, strategy: str) -> NDArray[np.float64]:
    """Mean probability and share present in each bin that has an entry, float64 [2, b] in 0..1; all seeds together.

    [2, 0] where a run has no diagram, or other bins than the rest.
    """
    calibrations = [run.record.calibration for run in results.of(strategy)]
    recorded = [None if calibration is None else calibration.bins for calibration in calibrations]
    tables = [(bins.entries, bins.predicted, bins.present) for bins in recorded if bins is not None]
    if len(tables) < len(recorded) or len({len(entries) for entries, _, _ in tables}) > 1:
        return np.empty((2, 0))
    entries, *sums = np.sum(np.array(tables, dtype=float), axis=0)
    return np.array(sums)[:, entries > 0] / entries[entries > 0]


def reliability_figure(results: Results) -> Markup | None:
    """The reliability diagrams of all strategies in one figure; None where no run recorded one."""
    points = {name: reliability_points(results, name) for name in results.strategies}
    points = {name: both for name, both in points.items() if both.size}
    if not points:
        return None
    looks = styles(results.strategies, results.upper)
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(4.6, 4.2))
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color="#222222", lw=1.2)
        for name, (predicted, present) in points.items():
            look = looks[name]
            (line,) = axes.plot(predicted, present, look.dashes, color=look.colour, marker=look.marker, markersize=4)
            titled(line, f"{name}: {course_text(present, 2)}")
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.02, 1.02), aspect="equal")
        axes.set(xlabel="predicted probability", ylabel="share present")
        axes.grid(color=FAINT, lw=0.6)
        label = "Share of entries that are present against their predicted probability, per strategy"
        return as_svg(figure, "reliability", label)
