"""Parts of a `RunRecord`, each what one key of `result.json` holds, and how they are read from it and written to it.

Percentages are in 0..100; what is undefined is NaN or None when it is written, null in the file, and None when it is
read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from typing import Any, TypeVar

from clsim.strict_json import Object
from clsim.vocabulary import GROUPS, MEMORY_LABELS, STATES

Number = float | None
Course = list[Number]
"""A value after each task."""


@dataclass(frozen=True)
class TaskRecord:
    """One task of the stream that a run was trained on.

    Attributes:
        index: counted from 0.
        classes: names of the classes it introduces.
        columns: their range [start, stop) in the order of the stream.
        train_images: training images, which are the rows of the task.
        returning: names of classes of earlier tasks that come back in it.
        chance: what its column of R comes to in a random order, percent; None: no class counts, or not recorded.
    """

    index: int
    classes: list[str]
    columns: tuple[int, int]
    train_images: int
    returning: list[str] = field(default_factory=list)
    chance: Number = None


@dataclass(frozen=True)
class GroupsRecord:
    """Head, medium and tail classes, all empty where a run recorded none.

    Attributes:
        rule: how classes are divided: counts or terciles.
        members: group -> names of its classes.
        positives: training positives of each class, in the order of the stream.
        mAP: group -> its course, percent.
        last_mAP: group -> its value after the last task, percent.
        forgetting: group -> mean forgetting of its classes, percent points.
    """

    rule: str = ""
    members: dict[str, list[str]] = field(default_factory=dict)
    positives: list[int] | None = None
    mAP: dict[str, Course] = field(default_factory=dict)
    last_mAP: dict[str, Number] = field(default_factory=dict)
    forgetting: dict[str, Number] = field(default_factory=dict)

    def by_class(self) -> dict[str, str]:
        """Name of a class -> its group, of those that have one."""
        return {name: group for group in GROUPS for name in self.members.get(group, [])}


@dataclass(frozen=True)
class Measured:
    """Metrics that are measured together; in the file `<name>` is a course and `last_<name>` its last value.

    Attributes:
        courses: metric -> its course.
        last: metric -> its value after the last task.
    """

    courses: dict[str, Course] = field(default_factory=dict)
    last: dict[str, Number] = field(default_factory=dict)

    @classmethod
    def of(cls, content: Any, key: str) -> Measured:
        """From what the file holds under a key; raise ValueError unless it is an object."""
        as_object(content, key)
        return cls(
            {name: value for name, value in content.items() if not name.startswith("last_")},
            {name.removeprefix("last_"): value for name, value in content.items() if name.startswith("last_")},
        )

    def content(self) -> Object:
        """What the file holds."""
        return self.courses | {f"last_{name}": value for name, value in self.last.items()}


@dataclass(frozen=True)
class AccuracyRecord:
    """Top-1 accuracy of single-label data over all classes and by shots, percent.

    Attributes:
        measured: `all`, and those of SHOTS.
        average: mean over the tasks of the accuracy over all classes.
    """

    measured: Measured
    average: Number

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> AccuracyRecord:
        """From what the file holds."""
        names = dict(as_object(content, "accuracy"))
        average = names.pop("average", None)
        return cls(Measured.of(names, "accuracy"), average)

    def content(self) -> Object:
        """What the file holds."""
        return self.measured.content() | {"average": self.average}


@dataclass(frozen=True)
class BinsRecord:
    """A reliability diagram: entries (image and class) by their probability, in bins of equal width in 0..1.

    Attributes:
        entries: number of entries in each bin.
        present: those that are truly present.
        predicted: sum of their probabilities.
    """

    entries: list[int]
    present: list[int]
    predicted: list[float]


@dataclass(frozen=True)
class CalibrationRecord:
    """How far probabilities are from the share of entries that is present; see `clsim.evaluation.calibration`.

    Attributes:
        measured: those of CALIBRATION, percent.
        bins: after the last task, all classes together; None: it was not scored.
    """

    measured: Measured = field(default_factory=Measured)
    bins: BinsRecord | None = None

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> CalibrationRecord:
        """From what the file holds."""
        names = dict(as_object(content, "calibration"))
        found = names.pop("bins", None)
        bins = None if found is None else read_fields(BinsRecord, found, "calibration.bins")
        return cls(Measured.of(names, "calibration"), bins)

    def content(self) -> Object:
        """What the file holds."""
        return self.measured.content() | {"bins": plain_values(self.bins)}


@dataclass(frozen=True)
class MetricRecord:
    """A metric that the user brings.

    Attributes:
        reference: the file and function.
        code: hash of the code, by which equal metrics are known.
        courses: its name, or `name/key` where it has several values -> its course, in its own unit.
    """

    reference: str
    code: str
    courses: dict[str, Course]


@dataclass(frozen=True)
class LabelsRecord:
    """How good the labels of a replay memory are; see `clsim.evaluation.memory_labels`.

    Attributes:
        courses: name of MEMORY_LABELS -> its course.
        blocks: the label block matrix after the last task: by storing task, task of the class and state of STATES.
    """

    courses: dict[str, Course] = field(default_factory=dict)
    blocks: list[list[list[int]]] | None = None

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> LabelsRecord:
        """From what the file holds, which `MemoryLabels.summary` gives."""
        as_object(content, "memory.labels")
        return cls({name: content[name] for name in MEMORY_LABELS if name in content}, content.get("blocks"))

    def content(self) -> Object:
        """What the file holds."""
        return {**self.courses, "states": list(STATES), "blocks": self.blocks}


@dataclass(frozen=True)
class MemoryRecord:
    """What is kept of earlier tasks after the last one.

    Attributes:
        rows: number of rows of the replay memory; 0 without one.
        bytes: of its images and labels, and of what else plugins keep, such as logits or statistics.
        labels: quality of the replay memory's labels; None: not recorded, or no replay memory.
    """

    rows: int
    bytes: int
    labels: LabelsRecord | None = None

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> MemoryRecord:
        """From what the file holds."""
        record = read_fields(cls, content, "memory")
        return record if record.labels is None else replace(record, labels=LabelsRecord.of(content["labels"]))


_Kind = TypeVar("_Kind")


def read_fields(kind: type[_Kind], content: Any, key: str = "") -> _Kind:
    """A record of its fields among the keys of an object; null is a field's default, or None where it has none.

    Raises:
        ValueError: it is no object, or lacks a key that has no default.
    """
    as_object(content, key)
    optional = {}
    for entry in fields(kind):  # type: ignore[arg-type]
        optional[entry.name] = entry.default is not MISSING or entry.default_factory is not MISSING
    if missing := [name for name, has_default in optional.items() if not has_default and name not in content]:
        raise ValueError(f"{key}: keys missing: {', '.join(missing)}".removeprefix(": "))
    return kind(**{name: content[name] for name in optional if content.get(name) is not None or not optional[name]})


def as_object(content: Any, key: str) -> Object:
    """Return what is under a key of a file; raise ValueError unless it is a JSON object."""
    if not isinstance(content, dict):
        raise ValueError(f"{key}: expected a JSON object, found {type(content).__name__}".removeprefix(": "))
    return content


def plain_values(value: Any) -> Any:
    """Return records, and whatever holds them, as a file holds them: objects, lists, numbers and texts."""
    if isinstance(value, Measured | AccuracyRecord | CalibrationRecord | LabelsRecord):
        return value.content()
    if is_dataclass(value):
        return {entry.name: plain_values(getattr(value, entry.name)) for entry in fields(value)}
    if isinstance(value, dict):
        return {key: plain_values(entry) for key, entry in value.items()}
    return [plain_values(entry) for entry in value] if isinstance(value, list | tuple) else value
