"""Which differences between strategies are more than chance: paired by (seed, order_seed), corrected for their number.

DECIDED: the test is the paired t test, corrected by Holm over the comparisons of one metric. The bootstrap interval
stands beside as a second look that assumes no distribution; the few seeds of a comparison make it too narrow to decide.
Fewer than LEAST_PAIRS pairs are not tested: with two, the test rests on one number for the spread.
Intervals are not corrected, and neither is anything over metrics: each metric is a question of its own.
DECIDED: references and controls have intervals but are not tested: that joint is better is no finding, and its test
would cost the methods power. With one as the baseline the methods are tested against it.
DECIDED: pairs count as independent. With several class orders those of one order are alike, so that a difference
which one order favours looks surer than it is.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from clsim.errors import RunError, did_you_mean
from clsim.report.intervals import (
    LEVEL,
    bootstrap_interval,
    half_width,
    holm,
    p_value,
    paired_differences,
    standard_deviation,
)
from clsim.report.results import Results
from clsim.vocabulary import GROUPS, SHOTS

COMPARED = {
    "last_mAP": "Last mAP",
    "avg_mAP": "Avg mAP",
    "forgetting": "Forgetting",
    "backward_transfer": "Backward transfer",
    **{f"{group}_last_mAP": f"{group.capitalize()} mAP" for group in GROUPS},
    "tail_forgetting": "Tail forgetting",
    "last_accuracy": "Last accuracy",
    "avg_accuracy": "Avg accuracy",
    **{f"{shots}_last_accuracy": f"{shots.capitalize()}-shot accuracy" for shots in SHOTS},
}
"""Metrics whose differences are tested, and their names; those no run recorded are left out."""


LEAST_PAIRS = 3
"""Pairs without which there is no test and no verdict."""


@dataclass(frozen=True)
class Contrast:
    """One metric of one strategy, and how it differs from the baseline's, in the metric's unit.

    Attributes:
        seeds: number of runs; mean, std (sample's) and half (of the 95 % interval by Student's t) are over them.
        pairs: number of (seed, order_seed) that the baseline has, too; 0 for the baseline itself.
        difference: mean of own - baseline over the pairs; difference_half by Student's t, low and high by bootstrap.
        p: of the paired t test, corrected by Holm over the methods compared with this baseline; NaN for references
            and for fewer than LEAST_PAIRS pairs.

    What is not defined is NaN: everything that needs a spread with one seed or pair, the difference of the baseline.
    """

    strategy: str
    metric: str
    seeds: int
    mean: float
    std: float
    half: float
    pairs: int = 0
    difference: float = math.nan
    difference_half: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan

    @property
    def verdict(self) -> str:
        """better or worse where the difference is significant, else an empty text."""
        if not self.p < LEVEL:
            return ""
        return "better" if (self.difference > 0) != lower_is_better(self.metric) else "worse"


def lower_is_better(metric: str) -> bool:
    """Whether a smaller value of a metric of COMPARED is the better one."""
    return metric.endswith("forgetting")


def lowest_and_highest(metric: str) -> tuple[float, float]:
    """Return the values that a metric of COMPARED cannot go beyond, in its unit."""
    return (-100.0 if "forgetting" in metric or "transfer" in metric else 0.0), 100.0


def choose_baseline(results: Results, name: str | None = None) -> str:
    """The strategy that the others are compared with: the named one, by default the lower reference, else the first.

    Raises:
        RunError: no finished run is of the named one.
    """
    if name is None:
        return results.lower or results.strategies[0]
    check_baseline(name, results.strategies)
    return name


def check_baseline(name: str, strategies: list[str]) -> None:
    """RunError unless `name` is one of the strategies."""
    if name not in strategies:
        hint = did_you_mean(name, strategies)
        raise RunError(f"baseline: given {name!r}, allowed: {', '.join(strategies)}{hint}")


def compared_metrics(results: Results) -> list[str]:
    """The metrics of COMPARED that a run has a value of."""
    known = results.frame.notna().any()
    return [metric for metric in COMPARED if known[metric]]


def against(results: Results, baseline: str) -> dict[str, list[Contrast]]:
    """Per metric every strategy beside the baseline, in the order of the results."""
    found = {}
    for metric in compared_metrics(results):
        values = {name: results.values_by_pair(name, metric) for name in results.strategies}
        found[metric] = _contrasts(metric, values, baseline, results.methods)
    return found


def _contrasts(
    metric: str, values: dict[str, dict[Hashable, float]], baseline: str, tested: list[str]
) -> list[Contrast]:
    differences = {name: paired_differences(own, values[baseline]) for name, own in values.items() if name != baseline}
    p_values = [_p(each) if name in tested else math.nan for name, each in differences.items()]
    corrected = dict(zip(differences, holm(p_values), strict=True))
    rows = []
    for name, own in values.items():
        numbers = list(own.values())
        row = (name, metric, len(own), sum(numbers) / len(own), standard_deviation(numbers), half_width(numbers))
        if name == baseline:
            rows.append(Contrast(*row))
            continue
        each = differences[name]
        mean = float(each.mean()) if len(each) else math.nan
        rows.append(Contrast(*row, len(each), mean, half_width(each), *bootstrap_interval(each), corrected[name]))
    return rows


def _p(differences: NDArray[np.float64]) -> float:
    """Return the p of the paired t test, NaN for fewer than LEAST_PAIRS pairs."""
    return p_value(differences) if len(differences) >= LEAST_PAIRS else math.nan


def pairs_of(results: Results, a: str, b: str) -> set[tuple[int, int]]:
    """Return the (seed, order_seed) that two strategies share."""
    return {run.pair for run in results.of(a)} & {run.pair for run in results.of(b)}


def ranked(results: Results, metric: str) -> list[str]:
    """Return the methods with a mean of the metric, the best first; references and controls are none."""
    means = {row["strategy"]: row[f"{metric}_mean"] for row in results.summaries}
    known = [name for name in results.methods if not math.isnan(means[name])]
    return sorted(known, key=lambda name: means[name] if lower_is_better(metric) else -means[name])


def beaten(results: Results, metric: str) -> dict[str, set[str]]:
    """Return for each method the methods that it is significantly better than.

    DECIDED: Holm's correction is over all pairs of methods, because the winner is chosen after looking.
    """
    values = {name: results.values_by_pair(name, metric) for name in results.methods}
    pairs = list(combinations(results.methods, 2))
    differences = [paired_differences(values[a], values[b]) for a, b in pairs]
    found: dict[str, set[str]] = {name: set() for name in results.methods}
    for (a, b), each, p in zip(pairs, differences, holm([_p(d) for d in differences]), strict=True):
        if p < LEVEL:
            better, worse = (a, b) if (each.mean() > 0) != lower_is_better(metric) else (b, a)
            found[better].add(worse)
    return found


def leaders(results: Results) -> dict[str, tuple[str, bool]]:
    """Return per metric the method with the best mean, and whether it is significantly better than each other method.

    Among fewer than two methods none leads, and neither does one of several with the same mean. References and controls
    (not in `Results.methods`) are no rivals.
    """
    means = {row["strategy"]: row for row in results.summaries}
    found = {}
    for metric in compared_metrics(results):
        order = ranked(results, metric)
        best = [means[name][f"{metric}_mean"] for name in order[:2]]
        if len(results.methods) > 1 and best and best[0] not in best[1:]:
            found[metric] = (order[0], len(beaten(results, metric)[order[0]]) == len(results.methods) - 1)
    return found
