"""Results of each class as one tidy table, `classes.csv`: a row per run, task and class seen after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from clsim.errors import RunError
from clsim.evaluation.kept_scores import read_scores
from clsim.evaluation.thresholds import Confusion, confusion
from clsim.opening import read_regular
from clsim.report.results import Results
from clsim.report.run_result import RunResult
from clsim.scenario.plan.stream_plan import StreamPlan

COLUMNS = ("run", "strategy", "seed", "order_seed", "task", "class", "group", "AP", "positives", "chance")
OF_CLASS_AT_THRESHOLD = ("precision", "recall", "F1")


def class_results(results: Results) -> pd.DataFrame:
    """Return the table; percent but for `positives`, NaN where undefined or not known.

    AP, `positives` (images that show the class) and `chance` (AP of a random order, the share of positives) are of the
    whole test set. `precision@<p>`, `recall@<p>` and `F1@<p>` are of the images that count for mAP, as CF1 is. They
    come from kept scores, so that by default only the rows of the last task have them.

    Raises:
        RunError: the plan or the kept scores of a run are damaged.
    """
    plans: dict[str, StreamPlan | None] = {}
    rows: list[dict[str, Any]] = []
    for run in results.runs:
        if plans.get(run.stream) is None:
            plans[run.stream] = _plan(run)
        rows += _rows(run, plans[run.stream], results.thresholds)
    at = [f"{name}@{threshold}" for threshold in results.thresholds for name in OF_CLASS_AT_THRESHOLD]
    return pd.DataFrame(rows, columns=[*COLUMNS, *at])


def _plan(run: RunResult) -> StreamPlan | None:
    if not run.files.plan.exists():  # a folder that was thinned
        return None
    try:
        return StreamPlan.from_bytes(read_regular(run.files.plan))
    except ValueError as error:
        raise RunError(f"{run.files.plan}: {error}") from None


def _rows(run: RunResult, plan: StreamPlan | None, thresholds: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of a run; `plan` is that of its stream, whose test images all plans derived from it have."""
    record = run.record
    group = record.groups.by_class()
    kept = {} if plan is None else read_scores(run.files.scores, run.files.about_scores, record.plan_sha256)
    for task in record.tasks:
        seen = task.columns[1]
        at = {}
        if plan is not None and task.index in kept:
            scope = plan.in_scope(task.index)
            scores, truth = kept[task.index][scope], plan.test_truth[scope, :seen]
            at = {threshold: confusion(scores, truth, float(threshold)) for threshold in thresholds}
        for column, name in enumerate(record.class_names[:seen]):
            row: dict[str, Any] = {"run": run.name, "strategy": run.strategy, "seed": run.seed, "task": task.index}
            row |= {"order_seed": record.order_seed, "class": name, "group": group.get(name)}
            row["AP"] = None if record.AP is None else record.AP[task.index][column]
            if plan is not None:
                truth = plan.test_truth[:, column]
                row["positives"] = positives = int((truth == 1).sum())
                row["chance"] = 100 * positives / known if (known := int((truth >= 0).sum())) else None
            for threshold, counts in at.items():
                row |= {f"{key}@{threshold}": value for key, value in _at(counts.part(column, column + 1)).items()}
            yield row


def _at(counts: Confusion) -> dict[str, float]:
    """Precision, recall and F1 of one class in percent; precision of a class never predicted is undefined."""
    tp, fp, fn = int(counts.tp[0]), int(counts.fp[0]), int(counts.fn[0])
    values = {"precision": (tp, tp + fp), "recall": (tp, tp + fn), "F1": (2 * tp, 2 * tp + fp + fn)}
    found = {name: 100 * part / whole if whole else np.nan for name, (part, whole) in values.items()}
    return found if tp + fn else found | {"F1": np.nan}
