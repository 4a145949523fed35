"""A section of your own in the report: the classes that each strategy forgets most.

clsim report runs/digits-b0c2 --section docs/examples/own_section.py:most_forgotten
"""

import numpy as np

from clsim.report.section import Section, Table

MOST = 3


def most_forgotten(results):  # clsim.report.results.Results: the finished runs, each with its `record`
    rows = [("Strategy", "Class", "Forgetting\u00a0↓")]
    for strategy in results.strategies:
        runs = [run.record for run in results.of(strategy) if run.record.class_forgetting]
        if not runs:
            continue
        lost = np.array([record.class_forgetting for record in runs], dtype=float).mean(axis=0)  # points, [C]
        known = np.flatnonzero(~np.isnan(lost))
        worst = known[np.argsort(-lost[known], kind="stable")][:MOST]
        rows += [(strategy, runs[0].class_names[column], f"{lost[column]:.1f}") for column in worst]
    if len(rows) == 1:
        return None  # nothing to show: the report has no such section
    what = "The classes that lose most from their best AP to the AP after the last task, mean over seeds."
    return Section("most-forgotten", "Most forgotten classes", [what, Table("Most forgotten classes", rows)])
