"""What a run leaves of its numbers: the content of its `result.json` and of the lines of `timing.jsonl`, typed.

A run writes format 2. Format 1, of clsim 0.1.0, is read too; it lacks `reference` and `first_task`, and `accuracy`
where images show several classes. Earlier runs of either format lack `at_prevalence`, `ranking` and `calibration`.

A new optional field is one line: its name, type and default in `RunRecord`. Its parts are in `record_parts`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from clsim.errors import RunError
from clsim.running.record_parts import (
    AccuracyRecord,
    CalibrationRecord,
    Course,
    GroupsRecord,
    Measured,
    MemoryRecord,
    MetricRecord,
    Number,
    TaskRecord,
    as_object,
    plain_values,
    read_fields,
)
from clsim.running.run_spec import folder_name_problem
from clsim.strict_json import Object, finite_or_null, read_lines, read_object
from clsim.vocabulary import GROUPS, STATES, Reference

FORMAT = 2
"""Raised by a change that a reader of the format before would misunderstand; new optional fields are none."""

READABLE = (1, FORMAT)

_FINAL = ("last_mAP", "avg_mAP", "anytime_mAP", "forgetting", "backward_transfer")
_HASH = re.compile(r"[0-9A-Za-z]*")


@dataclass(frozen=True)
class RunRecord:
    """The result of a finished run.

    Attributes:
        scenario: its name.
        strategy: name of the strategy.
        seed: of everything random in training.
        plan_sha256: hash of the plan it was trained on.
        class_names: in the order of the stream.
        tasks: of the stream.
        last_mAP, avg_mAP: after the last task, and the mean over all tasks, percent.
        anytime_mAP: the mean over the passes inside tasks, percent; None: there were none, or it is not recorded.
        mAP: course over the tasks, percent.
        R: R[t][k] is the mean AP of the classes of task k after task t, percent; None for k > t.
        forgetting, backward_transfer: percent points.
        AP: of each task and class, percent; class_forgetting of each class, percent points. None: not recorded.
        options: part of the strategy -> its options.
        order_seed: of the class order; None: it is not drawn.
        derived_from: hash of the plan that the run's own derives from (`joint`, an oracle memory).
        data_fingerprint: of the data set.
        skipped_images: split -> number of images that cannot be decoded.
        threads, device: that it ran on.
        groups: head, medium and tail classes.
        chance: mAP of the seen classes, or group -> course of what a random order comes to, percent.
        present: block -> course of the share of its entries that are truly present, percent.
        thresholds: threshold as text -> the metrics at it, percent.
        at_prevalence: the same where each class is predicted as often as visible labels show it, percent.
        ranking: those of RANKING, percent.
        calibration: of probabilities; None: not recorded.
        accuracy: of single-label data; None: images show several classes.
        control: what the strategy knows that a method may not.
        loss_of: the part of the strategy that brought the loss; None: the loss is the scenario's.
        reference: see `Strategy`.
        replaced_outputs: plugins that may have given other scores of the evaluation images than the network's.
        first_task: `trained_by` names the run that trained the first task for this one; None: trained by itself.
        memory: None: it has none.
        metrics: those that the user brings, by name.
        notes: what the stream teaches or tests little, a line each, as `clsim plan` says it.
    """

    scenario: str
    strategy: str
    seed: int
    plan_sha256: str
    class_names: list[str]
    tasks: list[TaskRecord]
    last_mAP: Number
    mAP: Course
    R: list[Course]
    avg_mAP: Number = None
    anytime_mAP: Number = None
    forgetting: Number = None
    backward_transfer: Number = None
    AP: list[Course] | None = None
    class_forgetting: Course | None = None
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    order_seed: int | None = None
    derived_from: str | None = None
    data_fingerprint: str | None = None
    skipped_images: dict[str, int] = field(default_factory=dict)
    threads: int | None = None
    device: str | None = None
    groups: GroupsRecord = field(default_factory=GroupsRecord)
    chance: dict[str, Course] = field(default_factory=dict)
    present: dict[str, Course] = field(default_factory=dict)
    thresholds: dict[str, Measured] = field(default_factory=dict)
    at_prevalence: Measured = field(default_factory=Measured)
    ranking: Measured = field(default_factory=Measured)
    calibration: CalibrationRecord | None = None
    accuracy: AccuracyRecord | None = None
    control: str | None = None
    loss_of: str | None = None
    reference: Reference | None = None
    replaced_outputs: list[str] = field(default_factory=list)
    first_task: dict[str, str] | None = None
    memory: MemoryRecord | None = None
    metrics: dict[str, MetricRecord] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> RunRecord:
        """From the content of a file of this format; keys that it does not know are passed over.

        Raises:
            ValueError: it is not the content of such a file; with the key.
        """
        record = read_fields(cls, measured(content))
        record.check()
        return record

    def content(self) -> Object:
        """What the file holds: plain values, null for what is undefined."""
        return {"format": FORMAT, **finite_or_null(plain_values(self))}

    def at(self, threshold: str) -> Measured:
        """The metrics at a threshold, empty if they are not recorded."""
        return self.thresholds.get(threshold, Measured())

    def check(self) -> None:
        """Raise ValueError unless the tables hold numbers and fit the stream."""
        if not isinstance(self.strategy, str) or type(self.seed) is not int:
            raise ValueError("strategy is not a text, or seed not a whole number")
        if (allowed := folder_name_problem(self.strategy)) is not None:
            raise ValueError(f"strategy: given {self.strategy!r}, expected {allowed}")
        for name, value in (("plan_sha256", self.plan_sha256), ("derived_from", self.derived_from or "")):
            if not isinstance(value, str) or _HASH.fullmatch(value) is None:
                raise ValueError(f"{name}: given {value!r}, expected a hash of letters and digits")
        if not all(isinstance(name, str) for name in (self.scenario, *self.class_names)):
            raise ValueError("scenario or a name of class_names is not a text")
        numbers = [getattr(self, name) for name in _FINAL]
        for row in (numbers, self.mAP, *self.R, *(self.AP or ())):
            if not all(value is None or isinstance(value, int | float) for value in row):
                raise ValueError("something else than numbers and null in mAP, R, AP or the final numbers")
        tasks, classes = len(self.tasks), len(self.class_names)
        numbers_of = [value for course in self.chance.values() for value in course]
        if self.chance and (set(self.chance) != {"mAP", *GROUPS} or any(len(c) != tasks for c in self.chance.values())):
            raise ValueError("chance is not one course of the mAP and of each group, with one value per task")
        if not all(value is None or isinstance(value, int | float) for value in numbers_of):
            raise ValueError("something else than numbers and null in chance")
        if not len(self.mAP) == len(self.R) == tasks:
            raise ValueError("mAP, R and tasks differ in length")
        if self.AP is not None and [len(row) for row in self.AP] != [classes] * tasks:
            raise ValueError("AP is not one row per task with one value per class")
        blocks = self.memory.labels.blocks if self.memory and self.memory.labels else None
        shape = [[len(STATES)] * tasks] * tasks
        if blocks is not None and [[len(block) for block in row] for row in blocks] != shape:
            raise ValueError("memory.labels.blocks is not one row and one column per task with four counts each")
        bins = self.calibration.bins if self.calibration else None
        if bins is not None and len({len(part) for part in (bins.entries, bins.present, bins.predicted)}) > 1:
            raise ValueError("calibration.bins: entries, present and predicted differ in length")


@dataclass(frozen=True)
class TaskTiming:
    """What a task cost, a line of `timing.jsonl`; None: not recorded.

    Attributes:
        task: its index.
        train_seconds, eval_seconds: wall time of its training and of the evaluation after it.
        train_cpu_seconds: CPU time of its training, all threads, without the process that scores.
        samples_per_second: in training, replayed ones counted.
        peak_memory_bytes: of the process so far.
        peak_gpu_bytes: of its tensors on a GPU so far.
        shared_seconds: part of train_seconds that another run has spent for this one.
        other_load: share of all cores of the machine that other processes kept busy during training, 0..1.
    """

    task: int
    train_seconds: float | None = None
    train_cpu_seconds: float | None = None
    eval_seconds: float | None = None
    samples_per_second: float | None = None
    peak_memory_bytes: int | None = None
    peak_gpu_bytes: int | None = None
    shared_seconds: float | None = None
    other_load: float | None = None


def measured(content: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping of plain values, such as `History.summary`, with those that are parts of a `RunRecord` typed.

    Raises:
        ValueError: one is not as a run writes it; with its key.
    """
    return {key: _PARTS[key](value) if key in _PARTS and value is not None else value for key, value in content.items()}


def read_record(path: Path) -> RunRecord:
    """The result of a finished run.

    Args:
        path: of its `result.json`.

    Raises:
        RunError: it is missing, damaged, or of a format that this version does not read.
    """
    content = read_object(path)
    found = content.get("format")
    if type(found) is not int or found not in READABLE:
        newer = "; a newer clsim has written it" if isinstance(found, int) and found > FORMAT else ""
        readable = " and ".join(map(str, READABLE))
        raise RunError(f"{path}: format is {found!r}, this version of clsim reads {readable}{newer}")
    if found == 1:
        content["reference"] = _FORMAT_1_REFERENCES.get(str(content.get("strategy")))
    try:
        return RunRecord.of(content)
    except (ValueError, TypeError) as error:
        raise RunError(f"{path}: {error}") from None
    except (LookupError, AttributeError) as error:
        raise RunError(f"{path}: damaged: {type(error).__name__}: {error}") from None


def read_timing(path: Path) -> list[TaskTiming]:
    """The lines of a `timing.jsonl`; none where there is no file.

    Raises:
        RunError: a line is damaged.
    """
    try:
        return [read_fields(TaskTiming, line) for line in read_lines(path)]
    except ValueError as error:
        raise RunError(f"{path}: {error}") from None


_FORMAT_1_REFERENCES: dict[str, Reference] = {"joint": "upper", "finetune": "lower"}


def _thresholds(content: Any) -> dict[str, Measured]:
    tables = as_object(content, "thresholds")
    return {name: Measured.of(values, f"thresholds.{name}") for name, values in tables.items()}


def _tasks(content: Any) -> list[TaskRecord]:
    if not isinstance(content, list):
        raise ValueError(f"tasks: expected a list, found {type(content).__name__}")
    return [read_fields(TaskRecord, task, "tasks") for task in content]


def _metrics(content: Any) -> dict[str, MetricRecord]:
    metrics = as_object(content, "metrics").items()
    return {name: read_fields(MetricRecord, own, f"metrics.{name}") for name, own in metrics}


_PARTS: dict[str, Callable[[Any], Any]] = {
    "tasks": _tasks,
    "groups": partial(read_fields, GroupsRecord, key="groups"),
    "thresholds": _thresholds,
    "at_prevalence": partial(Measured.of, key="at_prevalence"),
    "ranking": partial(Measured.of, key="ranking"),
    "calibration": CalibrationRecord.of,
    "accuracy": AccuracyRecord.of,
    "memory": MemoryRecord.of,
    "metrics": _metrics,
}
