"""One finished run, read back from its folder, and the metrics it gives to tables over runs."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clsim.errors import RunError, ScenarioError, storage_errors
from clsim.opening import read_regular
from clsim.running.checksums import refuse_changed
from clsim.running.evaluation_record import extended, read_evaluation
from clsim.running.record import RunRecord, TaskTiming, read_record, read_timing
from clsim.running.record_parts import LabelsRecord
from clsim.running.run_folder import RunFolder
from clsim.scenario.document import read_document
from clsim.strict_json import parse_object
from clsim.vocabulary import (
    AT_THRESHOLD,
    AT_THRESHOLD_BY_BLOCK,
    BLOCKS,
    CALIBRATION,
    GROUPS,
    MEMORY_LABELS,
    RANKING,
    SHOTS,
)

if TYPE_CHECKING:
    from clsim.report.plot import Plot

OVERALL = ("last_mAP", "avg_mAP", "forgetting", "backward_transfer")
"""Percent, and percent points."""
METRICS = (
    *OVERALL,
    *(f"{group}_last_mAP" for group in GROUPS),
    *(f"{group}_forgetting" for group in GROUPS),
    *("memory_rows", "memory_bytes", "train_seconds", "eval_seconds", "samples_per_second", "peak_memory_bytes"),
    *(f"memory_{name}" for name in MEMORY_LABELS),
    *(f"present_{block}" for block in BLOCKS),  # percent of the entries of old and new classes, after the last task
    *("last_accuracy", "avg_accuracy"),  # top-1, percent; only single-label data has them
    *(f"{shots}_last_accuracy" for shots in SHOTS),
    *(f"last_{name}" for name in (*RANKING, *CALIBRATION)),  # percent
)
ANYTIME = "anytime_mAP"
"""Percent; there where a run is scored inside tasks."""
TRAIN_CPU = "train_cpu_seconds"
"""There where a run recorded it; those of clsim 0.1.0 did not."""
AT_EACH_THRESHOLD = (*AT_THRESHOLD, *AT_THRESHOLD_BY_BLOCK)
"""After the last task at each probability threshold, percent; a metric is named `<name>@<threshold>`: CF1@0.8."""
PREVALENCE = "prevalence"
"""Stands for a threshold of its own for each class, at which it is predicted as often as visible labels show it."""
BESIDE_METRICS = ("strategy", "seed", "order_seed", "plan_sha256", "derived_from")
"""The other columns of `Results.frame`."""
TAKEN_NAMES = (*BESIDE_METRICS, *METRICS, ANYTIME, TRAIN_CPU, *AT_EACH_THRESHOLD)
"""No metric that a user brings may be named so."""
ORDER_FOLDER = re.compile(r"order(\d+)")


@dataclass(frozen=True)
class RunResult:
    """One finished run: the contents of its folder.

    Attributes:
        folder: of the run.
        record: what it measured, and what `clsim evaluate` has added to it.
        timing: what each task cost; of a task that was run again both.
        environment: what it ran on.
        config: the resolved scenario; config_text: the same as it stands in the file.
    """

    folder: Path
    record: RunRecord
    timing: list[TaskTiming] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    config_text: str = ""

    @property
    def result(self) -> dict[str, Any]:
        """The record as plain values, in the form of `result.json` as this version writes it."""
        return self.record.content()

    @property
    def files(self) -> RunFolder:
        """Where its files are."""
        return RunFolder(self.folder)

    @property
    def strategy(self) -> str:
        return self.record.strategy

    @property
    def seed(self) -> int:
        return self.record.seed

    @property
    def pair(self) -> tuple[int, int]:
        """(seed, order_seed), by which runs of two strategies are paired; order_seed -1 if no class order is drawn."""
        return self.seed, -1 if self.record.order_seed is None else self.record.order_seed

    @property
    def name(self) -> str:
        order = self.folder.parents[1].name if len(self.folder.parents) > 1 else ""
        return f"{order}/" * bool(ORDER_FOLDER.fullmatch(order)) + f"{self.strategy}/seed{self.seed}"

    @property
    def plot(self) -> Plot:
        """Figures of this run."""
        from clsim.report.results import Results

        return Results(self.folder, (self,), ()).plot

    def _repr_html_(self) -> str:
        from clsim.report.notebook import run_html

        return run_html(self)

    @property
    def stream(self) -> str:
        """Hash of the plan that makes runs comparable: the run's own, or the one its plan derives from."""
        return self.record.derived_from or self.record.plan_sha256

    @property
    def memory_labels(self) -> LabelsRecord | None:
        """How good the labels of its memory are; None: it has no memory, or did not record it."""
        return self.record.memory.labels if self.record.memory is not None else None

    def row(self) -> dict[str, Any]:
        """The run as one row of `Results.frame`, thresholds that it did not record left out."""
        return dict(self._row)

    @cached_property
    def _row(self) -> dict[str, Any]:
        measured = self._scores() | self._memory() | self._cost()
        values = {name: math.nan if value is None else float(value) for name, value in measured.items()}
        record = self.record
        order = math.nan if record.order_seed is None else record.order_seed
        which = {"strategy": self.strategy, "seed": self.seed, "order_seed": order}
        return which | values | {"plan_sha256": record.plan_sha256, "derived_from": record.derived_from}

    def _scores(self) -> dict[str, float | None]:
        """Scores after the last task, and means over the tasks."""
        record, accuracy = self.record, self.record.accuracy
        found = {name: getattr(record, name) for name in (*OVERALL, ANYTIME)}
        for group in GROUPS:
            found[f"{group}_last_mAP"] = record.groups.last_mAP.get(group)
            found[f"{group}_forgetting"] = record.groups.forgetting.get(group)
        found |= {f"present_{block}": _last(record.present.get(block)) for block in BLOCKS}
        if accuracy is not None:
            found |= {"last_accuracy": accuracy.measured.last.get("all"), "avg_accuracy": accuracy.average}
            found |= {f"{shots}_last_accuracy": accuracy.measured.last.get(shots) for shots in SHOTS}
        for threshold, at in record.thresholds.items():
            found |= {f"{name}@{threshold}": at.last.get(name) for name in AT_EACH_THRESHOLD}
        found |= {f"{name}@{PREVALENCE}": value for name, value in record.at_prevalence.last.items()}
        calibration = {} if record.calibration is None else record.calibration.measured.last
        found |= {f"last_{name}": value for name, value in (record.ranking.last | calibration).items()}
        for metric in record.metrics.values():
            found |= {name: _last(course) for name, course in metric.courses.items()}
        return found

    def _memory(self) -> dict[str, float | None]:
        """Size and label quality of the replay memory after the last task."""
        memory, labels = self.record.memory, self.memory_labels
        if memory is None:
            return {}
        size: dict[str, float | None] = {"memory_rows": memory.rows, "memory_bytes": memory.bytes}
        courses = labels.courses if labels is not None else {}
        return size | {f"memory_{name}": _last(courses.get(name)) for name in MEMORY_LABELS}

    def _cost(self) -> dict[str, float | None]:
        """Seconds over all tasks, samples trained in a second of training (replayed ones too), and peak memory."""
        tasks = {line.task: line for line in self.timing}.values()  # a task run again counts once
        trained = _total([line.train_seconds for line in tasks])
        samples = _total([_product(line.train_seconds, line.samples_per_second) for line in tasks])
        peaks = [line.peak_memory_bytes for line in self.timing if line.peak_memory_bytes is not None]
        return {
            "train_seconds": trained,
            TRAIN_CPU: _total([line.train_cpu_seconds for line in tasks]),
            "eval_seconds": _total([line.eval_seconds for line in tasks]),
            "samples_per_second": samples / trained if samples is not None and trained else None,
            "peak_memory_bytes": max(peaks, default=None),
        }


def read_run(folder: Path) -> RunResult:
    """One finished run.

    Raises:
        RunError: a file is damaged, of another format, or no longer as the run wrote it; with its name.
    """
    files = RunFolder(folder)
    refuse_changed(files)
    return unchanged_run(files)


def unchanged_run(files: RunFolder) -> RunResult:
    """Return a finished run whose files have been compared with its checksums; errors as of `read_run`."""
    record = read_record(files.result)
    environment = parse_object(read_if_there(files.environment) or b"{}", str(files.environment))
    config_text = read_if_there(files.config).decode("utf-8", errors="replace")
    try:
        config = read_document(files.config).data if config_text.strip() else {}
        empty_classes = (config.get("evaluation") or {}).get("empty_classes", "skip")
    except ScenarioError as error:
        raise RunError(str(error)) from None
    except AttributeError:
        raise RunError(f"{files.config}: evaluation is no mapping") from None
    try:
        record = extended(record, read_evaluation(files), empty_classes)
    except ValueError as error:
        raise RunError(f"{files.evaluation}: {error}") from None
    run = RunResult(files.path, record, read_timing(files.timing), environment, config, config_text)
    try:
        _ = run._row  # computed once, and here, so that damage is named by its file
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        text = f"{files.result} or {files.timing.name}: damaged: {type(error).__name__}: {error}"
        raise RunError(text) from None
    return run


def _last(course: Sequence[float | None] | None) -> float | None:
    """The value after the last task; None where there is no course."""
    return course[-1] if course else None


def _total(values: Sequence[float | None]) -> float | None:
    """The sum; None where there is no value, or one is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def _product(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a * b


def read_if_there(path: Path) -> bytes:
    """Return the content of a file of a run; of none nothing."""
    with storage_errors(path):
        return read_regular(path) if path.exists() else b""
