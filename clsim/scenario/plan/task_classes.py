"""Which classes a task has: those that it introduces, a range of columns, and earlier ones that come back."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clsim.data.class_names import composed
from clsim.errors import Unplannable
from clsim.randomness import uniforms
from clsim.scenario.plan.blurry import first_tasks, n_blurry
from clsim.scenario.stream_schema import StreamSection

Ids = NDArray[np.int64]


class TaskClasses(NamedTuple):
    """The columns of a task's classes. Columns follow first appearance, so the seen ones are a prefix.

    Attributes:
        start: first column that the task introduces; the earlier ones have been seen before it.
        stop: column after the last that it introduces; start, if it brings no new class.
        returning: ascending columns below start that are classes of this task too.
    """

    start: int
    stop: int
    returning: tuple[int, ...] = ()

    @property
    def current(self) -> Ids:
        """All columns of the task, int64 ascending."""
        return np.array([*self.returning, *range(self.start, self.stop)], dtype=np.int64)

    @property
    def old(self) -> Ids:
        """Columns that were seen before and are none of the task's, int64 ascending."""
        return np.setdiff1d(np.arange(self.start, dtype=np.int64), np.array(self.returning, dtype=np.int64))


def task_classes(stream: StreamSection, class_names: Sequence[str], n_domains: int = 0) -> tuple[TaskClasses, ...]:
    """Return the classes of each task.

    Bi-Cj: i classes, then j in each task, of which the last may have fewer; B0-Cj starts with j. Or as many new classes
    as `sizes` lists. Or those that `tasks` names; one that was in an earlier task comes back. With `repetition`, each
    class also comes back in each later task with the same probability (class-incremental learning with repetition,
    Hemati et al., CoLLAs 2023, whose sampling of classes by probability this is). With `blurry`, the blurry classes are
    those of every task.

    Args:
        class_names: in stream order.
        n_domains: with `domains`, how many there are; all classes are those of each.

    Raises:
        Unplannable: the first task wants more classes than there are, the sizes have another sum, or a task has no
            class.
    """
    if stream.domains is not None:
        every = len(class_names)
        return (TaskClasses(0, every), *[TaskClasses(every, every, tuple(range(every)))] * (n_domains - 1))
    starts = _starts(stream, len(class_names))
    returning: list[Ids] = [np.empty(0, dtype=np.int64)] * (len(starts) - 1)
    if stream.tasks is not None:
        column = {name: place for place, name in enumerate(class_names)}
        named = [sorted(column[composed(name)] for name in task) for task in stream.tasks]
        for index, task in enumerate(named):
            if twice := [class_names[c] for c, after in pairwise(task) if c == after]:
                raise Unplannable(("stream", "tasks"), f"task {index} names {twice[0]!r} twice")
        returning = [
            np.array([c for c in task if c < start], dtype=np.int64)
            for task, start in zip(named, starts[:-1], strict=True)
        ]
    if stream.repetition is not None:
        draws = uniforms(len(class_names) * len(returning), stream.seed, "repetition").reshape(len(returning), -1)
        comes = draws < stream.repetition.probability
        returning = [np.flatnonzero(comes[task, :start]) for task, start in enumerate(starts[:-1])]
    if stream.blurry is not None:
        blurry = np.arange(n_blurry(stream.blurry, len(class_names)), dtype=np.int64)
        returning[1:] = [blurry] * (len(returning) - 1)
    tasks = tuple(
        TaskClasses(start, stop, tuple(again.tolist()))
        for start, stop, again in zip(starts[:-1], starts[1:], returning, strict=True)
    )
    for index, classes in enumerate(tasks):
        if not len(classes.current):
            raise Unplannable(("stream",), f"task {index} has no class: it brings none, and none comes back")
    return tasks


def _starts(stream: StreamSection, n_classes: int) -> list[int]:
    """Return the first column of each task, and the number of classes."""
    if stream.blurry is not None:
        return np.searchsorted(
            first_tasks(stream.blurry, n_classes, stream.seed), np.arange(stream.blurry.tasks + 1)
        ).tolist()
    if stream.increment is None:
        sizes = stream.sizes or _new_of(stream.tasks or [])
        if sum(sizes) != n_classes:
            raise Unplannable(("stream", "sizes"), f"given {sum(sizes)} classes in all, but there are {n_classes}")
        return np.cumsum([0, *sizes]).tolist()
    first = stream.base or stream.increment
    if first > n_classes:
        key = "base" if stream.base else "increment"
        raise Unplannable(("stream", key), f"given {first}, but there are only {n_classes} classes")
    return [0, *range(first, n_classes, stream.increment), n_classes]


def _new_of(tasks: list[list[str]]) -> list[int]:
    seen: set[str] = set()
    counts = []
    for task in tasks:
        counts.append(len(set(task) - seen))
        seen |= set(task)
    return counts
