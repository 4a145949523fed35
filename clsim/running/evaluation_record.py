"""What `clsim evaluate` leaves beside a run, the content of its `evaluation.json`, and what a report takes from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from clsim.errors import RunError
from clsim.files import write_json
from clsim.running.record import Measured, MetricRecord, RunRecord, measured
from clsim.running.run_folder import RunFolder
from clsim.strict_json import Object, finite_or_null, read_object

FORMAT = 1


@dataclass(frozen=True)
class EvaluationRecord:
    """Numbers that were computed from the kept scores of a finished run.

    Attributes:
        plan_sha256: hash of the run's plan.
        empty_classes: skip or zero, which the means over classes follow.
        tasks: those whose scores are kept; what needs others is undefined.
        values: task -> tag -> value, as the line of `metrics.jsonl` after that task has them.
        summary: as `result.json` has them, undefined values None.
    """

    plan_sha256: str
    empty_classes: str
    tasks: list[int]
    values: dict[int, dict[str, Any]]
    summary: Object

    @property
    def thresholds(self) -> dict[str, Measured]:
        """Return the metrics at each threshold."""
        found: dict[str, Measured] = measured(self.summary)["thresholds"]
        return found

    @property
    def metrics(self) -> dict[str, MetricRecord]:
        """Return the metrics that the user brings."""
        found: dict[str, MetricRecord] = measured(self.summary)["metrics"]
        return found

    def beside(self, earlier: EvaluationRecord | None) -> EvaluationRecord:
        """Return this record with the user's metrics and the thresholds of an earlier one that it does not have.

        Thresholds of another convention for empty classes are left out.
        """
        if earlier is None or earlier.plan_sha256 != self.plan_sha256:
            return self
        kept = ["metrics"] + ["thresholds"] * (earlier.empty_classes == self.empty_classes)
        return replace(self, summary=self.summary | {key: earlier.summary[key] | self.summary[key] for key in kept})

    def write(self, files: RunFolder) -> None:
        """Write `evaluation.json`, atomically.

        Raises:
            OSError: it cannot be written.
        """
        lines = [{"task": task, "values": values} for task, values in self.values.items()]
        content = {
            "format": FORMAT,
            "plan_sha256": self.plan_sha256,
            "empty_classes": self.empty_classes,
            "tasks": self.tasks,
            "values": lines,
            "summary": self.summary,
        }
        write_json(files.evaluation, finite_or_null(content))


def read_evaluation(files: RunFolder) -> EvaluationRecord | None:
    """Return what the last `clsim evaluate` has left beside a run; None: nothing.

    Raises:
        RunError: it is damaged, or of another format.
    """
    path = files.evaluation
    if not path.exists():
        return None
    content = read_object(path)
    if content.get("format") != FORMAT:
        raise RunError(f"{path}: format is {content.get('format')!r}, this version of clsim reads {FORMAT}")
    try:
        values = {line["task"]: line["values"] for line in content["values"]}
        rest = {name: content[name] for name in ("plan_sha256", "empty_classes", "tasks", "summary")}
        record = EvaluationRecord(values=values, **rest)
        _ = record.thresholds, record.metrics
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{path}: damaged: {type(error).__name__}: {error}") from None
    return record


def extended(record: RunRecord, evaluation: EvaluationRecord | None, empty_classes: str) -> RunRecord:
    """Return the record of a run with what it has not recorded itself; no number of its own is replaced.

    It gains metrics of the user's, or values of a newer code of them, and thresholds. DECIDED: thresholds only if
    means over classes follow the same convention as the run's own numbers, because one table holds both.

    Args:
        record: of the run.
        evaluation: of the same run; None: there is none.
        empty_classes: that the run's own numbers follow.

    Raises:
        ValueError: the evaluation is of another plan.
    """
    if evaluation is None:
        return record
    if evaluation.plan_sha256 != record.plan_sha256:
        raise ValueError(f"evaluation of another plan, {evaluation.plan_sha256}")
    known = {name: metric.code for name, metric in record.metrics.items()}
    new = {name: metric for name, metric in evaluation.metrics.items() if known.get(name) != metric.code}
    same = evaluation.empty_classes == empty_classes
    thresholds = evaluation.thresholds | record.thresholds if same else record.thresholds
    return replace(record, metrics=record.metrics | new, thresholds=thresholds)
