"""Files that grow with a run: `metrics.jsonl`, with the tags and steps of TensorBoard, `timing.jsonl` and others."""

from __future__ import annotations

import csv
import io
import json
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from avalanche.evaluation.metric_results import MetricValue
from avalanche.logging import BaseLogger
from numpy.typing import NDArray

from clsim.csv_text import shown_cell
from clsim.evaluation.class_values import ClassValues
from clsim.evaluation.history import History
from clsim.evaluation.inside_tasks import kind_inside
from clsim.evaluation.kept_scores import DTYPE
from clsim.evaluation.machine_load import LoadMeter
from clsim.evaluation.memory_labels import MemoryLabels
from clsim.files import GrowingFile, write_atomically
from clsim.strict_json import finite_or_null
from clsim.training.template import MultiLabelTemplate
from clsim.vocabulary import SEEN_MAP


def peak_memory() -> int:
    """Return the most memory this process has had so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes everywhere else


def gpu_memory(device: torch.device) -> dict[str, int]:
    """Return {"peak_gpu_bytes": the most memory that tensors have had on a GPU so far}; empty for other devices."""
    return {"peak_gpu_bytes": torch.cuda.max_memory_allocated(device)} if device.type == "cuda" else {}


class LineLogger(BaseLogger):
    """Base of loggers that take all values of an epoch, or of an evaluation, together.

    A line is {"phase": p, "task": t, "step": s, "values": {tag: value or null}}. `eval` comes after a task, at the
    number of tasks done; `train` and `epoch-eval` after an epoch, at the number of epochs done; `images-eval` inside an
    epoch, at the number of new images that the run has trained on. Nothing in it varies between equal runs.
    """

    def write(self, line: dict[str, Any]) -> None:
        """Take a line."""
        raise NotImplementedError

    def after_training_epoch(
        self, template: MultiLabelTemplate, metric_values: list[MetricValue], **kwargs: Any
    ) -> None:
        self._write("train", template.position.task, metric_values)

    def after_eval_exp(self, template: MultiLabelTemplate, metric_values: list[MetricValue], **kwargs: Any) -> None:
        if metric_values and template.position.started:
            self._write(f"{kind_inside(template)}-eval", template.position.task, metric_values)
        elif metric_values:
            self._write("eval", metric_values[0].x_plot - 1, metric_values)

    def _write(self, phase: str, task: int, metric_values: list[MetricValue]) -> None:
        values = {metric.name: metric.value for metric in metric_values}
        self.write(finite_or_null({"phase": phase, "task": task, "step": metric_values[0].x_plot, "values": values}))


class MetricsFile(LineLogger):
    """Appends each line to a JSON Lines file.

    Args:
        path: of the file.
        class_values: takes the values of each class and task, before the line that says where they are; None: they stay
            in the line.
    """

    def __init__(self, path: Path, class_values: ClassValues | None = None) -> None:
        super().__init__()
        self.file = GrowingFile(path)
        self.class_values = class_values

    def write(self, line: dict[str, Any]) -> None:
        if self.class_values is not None and (rows := self.class_values.take(line["values"])):
            line["rows"] = rows
        self.file.append(json.dumps(line, allow_nan=False) + "\n")


class CsvFile(LineLogger):
    """Appends each value to a table with the columns phase, task, step, tag and value; an undefined value is empty."""

    COLUMNS = ("phase", "task", "step", "tag", "value")

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.file = GrowingFile(path)

    def write(self, line: dict[str, Any]) -> None:
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        if not self.file.read():
            table.writerow(self.COLUMNS)
        where = (line["phase"], line["task"], line["step"])
        table.writerows((*where, shown_cell(tag), value) for tag, value in line["values"].items())
        self.file.append(text.getvalue())


class MemoryFile(BaseLogger):
    """Writes `memory.csv` after the last task: every row of a replay memory, and where each of its labels is from.

    Columns: row (id), stored_by (task), then one a class: `1` and `0` are given by the stream, `1@3` and `0.83@3` were
    written after task 3, an empty cell is unknown.

    Args:
        path: of the file.
        class_names: of the C classes.
        tasks: of the stream.
    """

    def __init__(self, path: Path, class_names: Sequence[str], tasks: int) -> None:
        super().__init__()
        self.path = path
        self.class_names = class_names
        self.tasks = tasks

    def after_eval_exp(self, template: MultiLabelTemplate, metric_values: list[MetricValue], **kwargs: Any) -> None:
        position, found = template.position, MemoryLabels.of(template)
        if not metric_values or position.started or position.task < self.tasks or found is None:
            return
        memory = found.replay.memory
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(["row", "stored_by", *map(shown_cell, self.class_names)])
        for first in range(0, len(memory.rows), _ROWS_AT_ONCE):
            part = slice(first, first + _ROWS_AT_ONCE)
            heads = zip(memory.rows[part].tolist(), memory.stored_by[part].tolist(), strict=True)
            cells = _cells(memory.labels[part], memory.provenance[part])
            text.writelines(f"{row},{task},{line}\n" for (row, task), line in zip(heads, cells, strict=True))
        write_atomically(self.path, text.getvalue())


class ScoresFile(BaseLogger):
    """Appends the scores of each kept task to `scores.f32`; see `clsim.evaluation.kept_scores`.

    Args:
        history: which has the last scores.
        tasks: whose scores are kept.
    """

    def __init__(self, path: Path, history: History, tasks: Sequence[int]) -> None:
        super().__init__()
        self.file = GrowingFile(path)
        self.history = history
        self.tasks = tasks

    def after_eval_exp(self, template: MultiLabelTemplate, metric_values: list[MetricValue], **kwargs: Any) -> None:
        after_task = any(metric.name == SEEN_MAP for metric in metric_values)  # not inside one, nor of another stream
        if after_task and self.history.last in self.tasks:
            assert self.history.scores is not None
            self.file.append(self.history.scores.astype(DTYPE, copy=False).tobytes())


@dataclass(frozen=True)
class Spent:
    """Seconds of wall time, and CPU seconds of all threads of this process."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Spent:
        """Return both clocks, of which only differences mean something."""
        return cls(time.perf_counter(), time.process_time())

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.wall + other.wall, self.cpu + other.cpu)

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.wall - other.wall, self.cpu - other.cpu)


class TimingFile(BaseLogger):
    """Appends time, throughput, peak memory and the load of the machine of each task to a JSON Lines file.

    Of a task that was interrupted the time until its last checkpoint counts, and the time since it was resumed.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.file = GrowingFile(path)
        self.trained = Spent(0.0, 0.0)
        self.began = Spent.now()
        self.samples = 0
        self.shared: dict[str, Any] = {}
        self.meter = LoadMeter()
        self.other_load: float | None = None

    def share(self, spent: Spent, trained_by: str) -> None:
        """Count the time another run has spent on this task.

        DECIDED: a method costs what it costs alone, whoever has trained its first task; `shared_seconds` tells how much
        of `train_seconds` that is, `trained_by` which run it was.
        """
        self.shared = {"shared_seconds": round(spent.wall, 4), "trained_by": trained_by}
        self.began -= spent

    def before_training_exp(self, template: MultiLabelTemplate, metric_values: Any, **kwargs: Any) -> None:
        self.began = Spent.now()
        self.samples = template.samples_trained
        self.meter = LoadMeter()

    def after_training_exp(self, template: MultiLabelTemplate, metric_values: Any, **kwargs: Any) -> None:
        self.trained = Spent.now() - self.began
        self.other_load = None if self.shared else self.meter.share_of_others()

    def before_eval(self, template: MultiLabelTemplate, metric_values: Any, **kwargs: Any) -> None:
        self.eval_began = Spent.now()

    def after_eval(self, template: MultiLabelTemplate, metric_values: Any, **kwargs: Any) -> None:
        if template.position.started:  # a score between two epochs is no training time
            self.began += Spent.now() - self.eval_began
            return
        line = {
            "task": template.position.task - 1,
            "train_seconds": round(self.trained.wall, 4),
            "train_cpu_seconds": round(self.trained.cpu, 4),
            "eval_seconds": round((Spent.now() - self.eval_began).wall, 4),
            "samples_per_second": round((template.samples_trained - self.samples) / max(self.trained.wall, 1e-9), 1),
            "peak_memory_bytes": peak_memory(),
            **gpu_memory(template.device),
            "other_load": None if self.other_load is None else round(self.other_load, 3),
        }
        self.file.append(json.dumps(line | self.shared) + "\n")
        self.shared = {}

    def trained_by(self) -> str | None:
        """Return the run that has trained the first task in place of this one; None: this one did."""
        try:
            first = json.loads(self.file.read().partition(b"\n")[0])
        except ValueError:  # damaged from outside, for which no result is given up
            return None
        return first.get("trained_by") if isinstance(first, dict) else None

    def state_dict(self) -> dict[str, Any]:
        return {**self.spent(), "samples": self.samples}

    def spent(self) -> dict[str, float]:
        """Return what the task has taken so far, JSON-ready."""
        so_far = Spent.now() - self.began
        return {"seconds": so_far.wall, "cpu_seconds": so_far.cpu}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.began = Spent.now() - Spent(state["seconds"], state["cpu_seconds"])
        self.samples = state["samples"]


def _cells(labels: NDArray[np.floating], sources: NDArray[np.integer]) -> list[str]:
    """Return the cells of rows of `memory.csv`, one text for each row.

    Args:
        labels: float [N, C]: 1, 0, -1 unknown, (0, 1) soft.
        sources: int [N, C], 0 given, k + 1 relabelled after task k.
    """
    forms = np.array(["", "0", "1", "%g", *(f"%.4g@{task}" for task in range(sources.max(initial=0)))], dtype=object)
    given = np.where(labels == 0, 1, np.where(labels == 1, 2, 3))
    form = np.where(labels < 0, 0, np.where(sources == 0, given, 3 + sources))
    rows = zip(forms[form], labels, form >= 3, strict=True)
    return [",".join(cells) % tuple(values[shown].tolist()) for cells, values, shown in rows]


_ROWS_AT_ONCE = 1024
