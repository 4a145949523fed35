"""How far methods stay below joint training: at the end, and at each task when it is new.

Intransigence of task k (Chaudhry et al., "Riemannian Walk for Incremental Learning", ECCV 2018, eq. 7): what a model
trained on all data of tasks 0..k reaches on task k, minus what the method reaches there right after learning it. Here
both are the mean AP of the classes of task k on the whole test set, R[k, k], in percent points: above zero the method
does not learn the new classes as well as joint does, below zero better.
DECIDED: the mean is over all tasks, the first included, as avg mAP's is.

Joint training is whichever strategy is the upper reference of the results.
"""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from clsim.report.figures import SETTINGS, as_svg, stems
from clsim.report.intervals import half_width, paired_differences
from clsim.report.results import Results
from clsim.report.tables import Rows, signed


def intransigence(results: Results, strategy: str) -> NDArray[np.float64]:
    """R_joint[k, k] - R[k, k] in percent points, float64 [pairs, T], of the (seed, order_seed) that joint has, too.

    NaN where joint was not trained after task k. No pairs where joint was not run.
    """
    upper = {run.pair: run.record for run in results.of(results.upper)} if results.upper is not None else {}
    found = [
        np.diagonal(np.array(upper[run.pair].R, dtype=float)) - np.diagonal(np.array(run.record.R, dtype=float))
        for run in results.of(strategy)
        if run.pair in upper
    ]
    return np.array(found, dtype=float).reshape(len(found), len(results.task_names))


def distance_table(results: Results) -> Rows:
    """Heading, then a row per strategy: its distance to joint, mean ± half 95 % interval over the pairs, in points.

    Empty where joint was not run.
    """
    upper = results.upper
    if upper is None or not _other_strategies(results):
        return []
    rows: Rows = [
        ("Strategy", "Pairs", f"Last mAP below {upper}", f"Avg mAP below {upper}", "Mean intransigence\u00a0↓")
    ]
    for name in _other_strategies(results):
        below = [
            paired_differences(results.values_by_pair(upper, metric), results.values_by_pair(name, metric))
            for metric in ("last_mAP", "avg_mAP")
        ]
        per_task = intransigence(results, name)
        cells = (_mean_and_half_width(each) for each in (*below, per_task.mean(axis=1)))
        rows.append((name, str(len(per_task)), *cells))
    return rows


def intransigence_figure(results: Results) -> Markup | None:
    """Intransigence of each task and strategy; None where joint was not run."""
    values = {name: intransigence(results, name) for name in _other_strategies(results)}
    values = {name: table for name, table in values.items() if not np.isnan(table).all()}
    if not values:
        return None
    with mpl.rc_context(SETTINGS):
        figure = stems(results, values, results.task_names, "task k", "intransigence (points)")
        return as_svg(figure, "intransigence", "Intransigence per task and strategy")


def _other_strategies(results: Results) -> list[str]:
    """The strategies beside the upper reference; none without one."""
    return [name for name in results.strategies if name != results.upper] if results.upper is not None else []


def _mean_and_half_width(differences: NDArray[np.float64]) -> str:
    if not len(differences):
        return signed(np.nan)
    half = half_width(differences)
    return signed(differences.mean()) + ("" if np.isnan(half) else f" ± {half:.1f}")
