"""The ladder against joint training: how far a method stays below it at the end, and at each task when it is new.

Intransigence of task k (Chaudhry et al., "Riemannian Walk for Incremental Learning", ECCV 2018, eq. 7): what a model
trained on all data of tasks 0..k reaches on task k, minus what the method reaches there right after learning it. Here
both are the mean AP of the classes of task k on the whole test set, R[k, k], in percent points: above zero the method
does not learn the new classes as well as joint does, below zero better.
DECIDED: the mean is over all tasks, the first included, as avg mAP's is.
"""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from clsim.report.figures import SETTINGS, as_svg, stems
from clsim.report.intervals import half_width, paired_differences
from clsim.report.results import JOINT, Results
from clsim.report.significance import values_by_pair
from clsim.report.tables import Rows, signed

HEADINGS = ("Strategy", "Pairs", "Last mAP below joint", "Avg mAP below joint", "Mean intransigence\u00a0↓")


def intransigence(results: Results, strategy: str) -> NDArray[np.float64]:
    """R_joint[k, k] - R[k, k] in percent points, float64 [pairs, T], of the (seed, order_seed) that joint has, too.

    NaN where joint was not trained after task k.
    """
    diagonals = {
        name: {
            (run.seed, run.result.get("order_seed")): np.diagonal(np.array(run.result["R"], dtype=float))
            for run in results.of(name)
        }
        for name in (strategy, JOINT)
    }
    upper = diagonals[JOINT]
    found = [upper[key] - own for key, own in diagonals[strategy].items() if key in upper]
    return np.array(found, dtype=float).reshape(len(found), len(results.reference.result["tasks"]))


def ladder_table(results: Results) -> Rows:
    """Heading, then a row per strategy: its distance to joint, mean ± half 95 % interval over the pairs, in points.

    Empty where joint was not run.
    """
    if not _climbers(results):
        return []
    frame = results.frame
    rows: Rows = [HEADINGS]
    for name in _climbers(results):
        below = [
            paired_differences(values_by_pair(frame, JOINT, metric), values_by_pair(frame, name, metric))
            for metric in ("last_mAP", "avg_mAP")
        ]
        per_task = intransigence(results, name)
        cells = (_with_half(each) for each in (*below, per_task.mean(axis=1)))
        rows.append((name, str(len(per_task)), *cells))
    return rows


def intransigence_figure(results: Results) -> Markup | None:
    """Intransigence of each task and strategy; None where joint was not run."""
    values = {name: intransigence(results, name) for name in _climbers(results)}
    values = {name: table for name, table in values.items() if not np.isnan(table).all()}
    if not values:
        return None
    names = [str(task["index"]) for task in results.reference.result["tasks"]]
    with mpl.rc_context(SETTINGS):
        figure = stems(results, values, names, "task k", "intransigence (points)")
        return as_svg(figure, "intransigence", "Intransigence per task and strategy")


def _climbers(results: Results) -> list[str]:
    return [name for name in results.strategies if name != JOINT] if JOINT in results.strategies else []


def _with_half(differences: NDArray[np.float64]) -> str:
    if not len(differences):
        return signed(np.nan)
    half = half_width(differences)
    return signed(differences.mean()) + ("" if np.isnan(half) else f" ± {half:.1f}")
