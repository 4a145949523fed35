"""Numbers that are better than they should be: what a reader checks first when a method may have seen the truth."""

from __future__ import annotations

import math

from clsim.report.intervals import half_width, paired_differences
from clsim.report.results import Results
from clsim.report.tables import fixed

METRIC = "last_mAP"


def too_good(results: Results) -> list[str]:
    """Return a sentence per strategy that is above joint by more than the interval, at 100 %, or replaces outputs."""
    found = []
    for name in results.strategies:
        if (lead := _lead(results, name)) is not None:
            found.append(
                f"{name} is {fixed(lead)} points above {results.upper}, the upper reference, and more than the 95 % "
                "interval of their difference: check whether it uses labels that a method must not see, and whether "
                f"{results.upper}, which begins anew in each task, had enough epochs."
            )
        if any(run.record.last_mAP == 100 for run in results.of(name)):
            found.append(f"{name} reaches exactly 100 % mAP: check whether it has seen the true labels.")
        plugins = dict.fromkeys(plugin for run in results.of(name) for plugin in run.record.replaced_outputs)
        if plugins:
            found.append(
                f"{name} replaces the network's scores of the evaluation images ({', '.join(plugins)}: "
                "after_eval_forward)."
            )
    return found


def _lead(results: Results, name: str) -> float | None:
    """Return by how many points a strategy is above the upper reference; None: not by more than the interval."""
    upper = results.upper
    if upper is None or any(run.record.reference == "upper" or run.record.control for run in results.of(name)):
        return None
    values = paired_differences(results.values_by_pair(name, METRIC), results.values_by_pair(upper, METRIC))
    half = half_width(values)
    lead = float(values.mean()) if len(values) else math.nan
    return lead if lead > half else None
