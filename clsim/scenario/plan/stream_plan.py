"""StreamPlan: the scenario itself, extensionally. Which sample is in which task with which visible labels.

A plan needs neither images nor torch. Two runs compare only if their plans, or the plans theirs derive from, have the
same hash.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from clsim.html_table import html_table
from clsim.scenario.plan.task_classes import TaskClasses
from clsim.vocabulary import GROUPS, UNKNOWN

PLAN_FORMAT = 1
MOST_BYTES = 2**31
"""Of an unpacked plan; a small file can pretend to hold any number."""


@dataclass(frozen=True, eq=False)
class TaskPlan:
    """One training task.

    Attributes:
        classes: column range [start, stop) of the classes this task introduces; empty if it brings no new class.
        returning: ascending columns of classes of earlier tasks that are this task's classes too.
        samples: int64 [n], training image of each row; a row is one image with this task's visible labels.
        columns: int64 [k], ascending columns in which labels may be visible.
        values: int8 [n, k], visible labels in these columns: 1, 0, or -1 for hidden. All other columns are hidden.
            A soft label counts here as what the data set says (`soft_labels`): 1, 0 or -1.
        memory_values: int8 [n, C], what a replay memory stores of each row in a derived plan (`memory.labels: oracle`);
            None: exactly what the row shows.
        soft: float32 [n, k], visible soft labels in (0, 1), which a learner sees in place of `values`; 0 where the
            label is hidden or not soft; None: none is soft.
    """

    classes: tuple[int, int]
    samples: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: NDArray[np.int8]
    memory_values: NDArray[np.int8] | None = None
    soft: NDArray[np.float32] | None = None
    returning: tuple[int, ...] = ()

    @property
    def of_classes(self) -> TaskClasses:
        """The columns of the task's classes."""
        return TaskClasses(*self.classes, self.returning)

    def __len__(self) -> int:
        return len(self.samples)


@dataclass(frozen=True, eq=False)
class ClassGroups:
    """Head, medium and tail classes, fixed by the training positives of the whole stream; never read by a learner.

    Attributes:
        rule: counts (>= 100 / 20-99 / < 20 positives) or terciles.
        positives: int64 [C], training images that truly show the class.
        group: int8 [C], 0 head, 1 medium, 2 tail.
    """

    rule: Literal["counts", "terciles"]
    positives: NDArray[np.int64]
    group: NDArray[np.int8]

    def columns(self, name: str) -> NDArray[np.int64]:
        """Ascending columns of the group `name` (head, medium or tail), int64."""
        return np.flatnonzero(self.group == GROUPS.index(name)).astype(np.int64)


@dataclass(frozen=True, eq=False)
class StreamPlan:
    """The whole stream. Columns follow the stream's class order, so the classes seen so far are a prefix.

    Rows have ids: training rows are numbered from 0 through the tasks in order, then evaluation rows. An id does not
    reveal the image; the map from ids to images is in the plan, which a learner cannot reach.

    Attributes:
        class_names: the C classes in stream order.
        tasks: the training tasks.
        test_samples: int64 [M], evaluation images in ascending order.
        test_truth: int8 [M, C], their true labels: 1, 0, -1 not annotated in the data set.
        test_split: the split they are from: test, or train for a validation share.
        test_scope: which test images count for mAP after a task: those with a seen class, all, or those of `scopes`.
        scopes: bool [T, M], which test images count after each task, for the scope "given"; else None.
        online: number of new rows per step, each row once; None: all rows of a task are available at once.
        groups: head, medium and tail classes.
        derived_from: hash of the plan this one was made from (`joint`), or None.
    """

    class_names: tuple[str, ...]
    tasks: tuple[TaskPlan, ...]
    test_samples: NDArray[np.int64]
    test_truth: NDArray[np.int8]
    test_scope: Literal["seen", "all", "given"]
    groups: ClassGroups
    test_split: Literal["test", "train"] = "test"
    derived_from: str | None = None
    scopes: NDArray[np.bool_] | None = None
    online: int | None = None
    row_offsets: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        sizes = [0, *(len(task) for task in self.tasks)]
        object.__setattr__(self, "row_offsets", np.cumsum(np.array(sizes, dtype=np.int64)))
        for _, array, _ in self._arrays():
            array.flags.writeable = False  # the hash must go on describing the plan

    def _repr_html_(self) -> str:
        rows = [
            (str(index), ", ".join(self.names(task)), str(len(task)), str(int(self.in_scope(index).sum())))
            for index, task in enumerate(self.tasks)
        ]
        table = html_table(rows, ("task", "classes", "images", "test images"))
        online = "" if self.online is None else f"<p>online: each row once, {self.online} at a time</p>\n"
        return f"{table}\n{online}<p>sha256: {self.sha256}</p>"

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    @property
    def n_train_rows(self) -> int:
        return int(self.row_offsets[-1])

    @property
    def family(self) -> str:
        """Hash that comparable runs share: of the plan this one derives from, else its own."""
        return self.derived_from or self.sha256

    def names(self, task: TaskPlan) -> list[str]:
        """Names of the classes a task introduces."""
        return list(self.class_names[slice(*task.classes)])

    @cached_property
    def single_label(self) -> bool:
        """Whether each test image shows exactly one class, so that top-1 accuracy has a meaning."""
        return bool(len(self.test_truth) and ((self.test_truth == 1).sum(axis=1) == 1).all())

    def without_truth(self) -> StreamPlan:
        """Return the plan as a process may have it that trains: truth of evaluation images and class groups unknown.

        Its hash is another one, and no run records it.
        """
        positives, group = np.zeros_like(self.groups.positives), np.zeros_like(self.groups.group)
        groups = ClassGroups(self.groups.rule, positives, group)
        return replace(self, test_truth=np.full_like(self.test_truth, UNKNOWN), groups=groups)

    @property
    def has_soft_labels(self) -> bool:
        """Whether a row shows a soft label."""
        return any(task.soft is not None for task in self.tasks)

    @property
    def row_samples(self) -> NDArray[np.int64]:
        """Image of each training row by row id, int64 [R]."""
        return np.concatenate([task.samples for task in self.tasks])

    def rows(self, task: int) -> NDArray[np.int64]:
        """Row ids of a task, int64 [n]."""
        return np.arange(self.row_offsets[task], self.row_offsets[task + 1])

    def test_rows(self) -> NDArray[np.int64]:
        """Row ids of the evaluation images, int64 [M]."""
        return self.n_train_rows + np.arange(len(self.test_samples))

    def in_scope(self, task: int) -> NDArray[np.bool_]:
        """Test images that count for mAP after a task, bool [M]."""
        if self.scopes is not None:
            return self.scopes[task]
        if self.test_scope == "all":
            return np.ones(len(self.test_samples), dtype=bool)
        scope: NDArray[np.bool_] = (self.test_truth[:, : self.tasks[task].classes[1]] == 1).any(axis=1)
        return scope

    @cached_property
    def sha256(self) -> str:
        """Hash over rows, visible columns and values, soft ones too, test rows, test truth, test scope and groups."""
        digest = hashlib.sha256()
        header = {
            "format": PLAN_FORMAT,
            "classes": self.class_names,
            "tasks": [task.classes for task in self.tasks],
            "test_scope": self.test_scope,
            "test_split": self.test_split,
            "groups": self.groups.rule,
            "derived_from": self.derived_from,
        }
        if any(task.returning for task in self.tasks):
            header["returning"] = [task.returning for task in self.tasks]
        if self.online is not None:
            header["online"] = self.online
        digest.update(json.dumps(header, sort_keys=True).encode())
        for name, array, kind in self._arrays():
            little = np.ascontiguousarray(array, dtype=kind)
            digest.update(f"{name}{little.dtype.str}{little.shape}".encode())
            digest.update(little.data)
        return digest.hexdigest()

    def _arrays(self) -> Iterator[tuple[str, NDArray[Any], str]]:
        """Name, array and the type it is hashed in, because NumPy's own integer is not the same on every machine."""
        for index, task in enumerate(self.tasks):
            yield f"samples{index}", task.samples, "<i8"
            yield f"columns{index}", task.columns, "<i8"
            yield f"values{index}", task.values, "|i1"
            if task.memory_values is not None:
                yield f"memory_values{index}", task.memory_values, "|i1"
            if task.soft is not None:
                yield f"soft{index}", task.soft, "<f4"
        yield "test_samples", self.test_samples, "<i8"
        yield "test_truth", self.test_truth, "|i1"
        if self.scopes is not None:
            yield "scopes", self.scopes, "|i1"
        yield "positives", self.groups.positives, "<i8"
        yield "group", self.groups.group, "|i1"

    def to_bytes(self) -> bytes:
        """The plan as gzip-compressed JSON a person can read; equal plans give equal bytes."""
        content = {
            "format": PLAN_FORMAT,
            "sha256": self.sha256,
            "derived_from": self.derived_from,
            "class_names": self.class_names,
            "test_scope": self.test_scope,
            **({} if self.online is None else {"online": self.online}),
            "groups": {
                "rule": self.groups.rule,
                "positives": self.groups.positives.tolist(),
                "group": self.groups.group.tolist(),
            },
            "tasks": [
                {
                    "classes": task.classes,
                    "samples": task.samples.tolist(),
                    "columns": task.columns.tolist(),
                    "values": _as_text(task.values),
                    "memory_values": None if task.memory_values is None else _as_text(task.memory_values),
                    **({} if task.soft is None else {"soft": _as_triples(task.soft)}),
                    **({} if not task.returning else {"returning": task.returning}),
                }
                for task in self.tasks
            ],
            "test": {
                "split": self.test_split,
                "samples": self.test_samples.tolist(),
                "truth": _as_text(self.test_truth),
                **({} if self.scopes is None else {"scopes": _as_text(self.scopes.astype(np.int8))}),
            },
        }
        return gzip.compress(json.dumps(content).encode(), compresslevel=6, mtime=0)  # 9 takes ten times as long

    @classmethod
    def from_bytes(cls, content: bytes) -> StreamPlan:
        """Read back `to_bytes`.

        Raises:
            ValueError: damaged, of another format, or the hash does not match.
        """
        try:
            unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            text = unpacker.decompress(content, MOST_BYTES)
            if not unpacker.eof or unpacker.unused_data:
                raise ValueError(f"damaged, or of more than {MOST_BYTES} bytes")
            data = json.loads(text)
            plan, recorded = cls._from_json(data), data["sha256"]
        except (zlib.error, ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
            raise ValueError(f"not a plan: {error}") from None
        if plan.sha256 != recorded:
            raise ValueError(f"plan hash {plan.sha256} does not match the recorded {recorded}")
        return plan

    @classmethod
    def _from_json(cls, data: dict[str, Any]) -> StreamPlan:
        if data["format"] != PLAN_FORMAT:
            raise ValueError(f"plan format {data['format']}, expected {PLAN_FORMAT}")
        groups = data["groups"]
        return cls(
            class_names=tuple(data["class_names"]),
            tasks=tuple(
                TaskPlan(
                    classes=(task["classes"][0], task["classes"][1]),
                    samples=np.array(task["samples"], dtype=np.int64),
                    columns=np.array(task["columns"], dtype=np.int64),
                    values=_from_text(task["values"], len(task["columns"])),
                    memory_values=None
                    if task["memory_values"] is None
                    else _from_text(task["memory_values"], len(data["class_names"])),
                    soft=_from_triples(task["soft"], len(task["samples"]), len(task["columns"]))
                    if "soft" in task
                    else None,
                    returning=tuple(task.get("returning", ())),
                )
                for task in data["tasks"]
            ),
            test_samples=np.array(data["test"]["samples"], dtype=np.int64),
            test_truth=_from_text(data["test"]["truth"], len(data["class_names"])),
            test_scope=data["test_scope"],
            groups=ClassGroups(
                rule=groups["rule"],
                positives=np.array(groups["positives"], dtype=np.int64),
                group=np.array(groups["group"], dtype=np.int8),
            ),
            test_split=data["test"]["split"],
            derived_from=data["derived_from"],
            scopes=_from_text(data["test"]["scopes"], len(data["test"]["samples"])) == 1
            if "scopes" in data["test"]
            else None,
            online=data.get("online"),
        )


_SYMBOLS = b"01?"


def _as_text(values: NDArray[np.int8]) -> list[str]:
    """One string a row: 1 present, 0 absent, ? unknown (-1 indexes the last symbol)."""
    symbols = np.frombuffer(_SYMBOLS, dtype=np.uint8)[values]
    return [row.tobytes().decode() for row in symbols]


def _from_text(rows: list[str], width: int) -> NDArray[np.int8]:
    symbols = np.frombuffer("".join(rows).encode(), dtype=np.uint8).reshape(len(rows), width)
    values = np.select([symbols == ord("1"), symbols == ord("0")], [1, 0], UNKNOWN)
    return values.astype(np.int8)


def _as_triples(soft: NDArray[np.float32]) -> list[tuple[int, int, float]]:
    """Row, column and value of each soft label."""
    rows, columns = np.nonzero(soft)
    return list(zip(rows.tolist(), columns.tolist(), soft[rows, columns].tolist(), strict=True))


def _from_triples(triples: list[Any], n_rows: int, width: int) -> NDArray[np.float32]:
    soft = np.zeros((n_rows, width), dtype=np.float32)
    for row, column, value in triples:
        soft[row, column] = value
    return soft
