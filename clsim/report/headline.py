"""The result of a comparison in one sentence."""

from __future__ import annotations

import math

from clsim.report.results import Results
from clsim.report.significance import LEAST_PAIRS, beaten, pairs_of, ranked
from clsim.report.tables import fixed, number

METRIC = "last_mAP"


def headline(results: Results) -> str:
    """Return which method is best by mAP after the last task, by how much, and whether that may be chance."""
    summaries = {row["strategy"]: row for row in results.summaries}

    def score(name: str) -> str:
        return number(summaries[name], METRIC, unit="\u00a0%")

    order = ranked(results, METRIC)
    clauses = []
    if not order:
        clauses.append("no method has an mAP after the last task")
    elif len(order) == 1:
        clauses.append(f"{order[0]} reaches {score(order[0])} mAP after the last task")
    else:
        best, second = order[:2]
        lead = summaries[best][f"{METRIC}_mean"] - summaries[second][f"{METRIC}_mean"]
        if lead:
            above = f"{fixed(lead)} points above {second}, the next"
            clauses.append(f"{best} has the highest mAP after the last task, {score(best)}, {above}")
            clauses.append(_verdict(results, best, order))
        else:
            clauses.append(
                f"{best} and {second} have the same mAP after the last task, {score(best)}, and none a higher one"
            )
    upper = results.upper
    if upper is not None and not math.isnan(summaries[upper][f"{METRIC}_mean"]):
        clauses.append(f"{upper}, the upper reference, reaches {score(upper)}")
    text = "; ".join(clauses)
    return f"{text}." if order else f"{text[0].upper()}{text[1:]}."


def _verdict(results: Results, best: str, order: list[str]) -> str:
    pairs = min(len(pairs_of(results, best, other)) for other in order if other != best)
    what = "runs" if len({run.pair[1] for run in results.runs}) > 1 else "seeds"  # of several class orders
    if pairs < LEAST_PAIRS:
        found = f"1 {what[:-1]}" if pairs == 1 else f"{pairs} {what} in common"
        return f"with {found} this may be chance ({LEAST_PAIRS} are needed for a verdict)"
    others = {best} | beaten(results, METRIC)[best]
    not_beaten = [name for name in order if name not in others]
    if not not_beaten:
        return f"it is significantly better than every other method ({pairs} {what})"
    differences = "the difference to {} is" if len(not_beaten) == 1 else "the differences to {} are"
    return f"{differences.format(' and '.join(not_beaten))} not significant with {pairs} {what}"
