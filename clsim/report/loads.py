"""Which train times were measured while other processes kept the machine busier than for others."""

from __future__ import annotations

import math

from clsim.report.results import Results
from clsim.report.run_result import RunResult

DIFFERENT = 0.1
"""DECIDED: loads that differ by more than this share of the machine count as different."""
MARK = "\u00a0*"


def other_load(runs: list[RunResult]) -> float:
    """Return the share of the machine that others kept busy in the training of runs, 0..1; NaN where none recorded it.

    It is the mean over the tasks whose load is recorded, weighted by their train time.
    """
    lines = [line for run in runs for line in {line.task: line for line in run.timing}.values()]
    known = [(line.other_load, line.train_seconds or 0.0) for line in lines if line.other_load is not None]
    seconds = sum(weight for _, weight in known)
    return sum(load * weight for load, weight in known) / seconds if seconds else math.nan


def busier(results: Results) -> dict[str, float]:
    """Return the load of each strategy that was trained on a machine clearly busier than the least disturbed one's."""
    loads = {name: other_load(results.of(name)) for name in results.strategies}
    least = min((load for load in loads.values() if not math.isnan(load)), default=math.nan)
    return {name: load for name, load in loads.items() if load > least + DIFFERENT}


def load_note(results: Results) -> str:
    """Return the sentence that explains `MARK`; "" where no strategy has it."""
    marked = busier(results)
    if not marked:
        return ""
    least = min(load for name in results.strategies if not math.isnan(load := other_load(results.of(name))))
    shares = ", ".join(f"{name} {100 * load:.0f} %" for name, load in marked.items())
    return (
        f"* Trained while other processes kept more of the machine busy ({shares}; the least disturbed strategy "
        f"{100 * least:.0f} %): train times are not comparable."
    )
