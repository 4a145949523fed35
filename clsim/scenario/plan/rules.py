"""The rules a stream is made by: class order, task sizes, who is in a task, what is visible, label noise, groups.

Pure functions on label matrices. Random choices use raw integers of a counter-based generator, one for each image of
the data set, so that no choice depends on which images another rule has picked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from clsim.data.class_names import composed
from clsim.errors import Unplannable, did_you_mean
from clsim.randomness import permutation, raw_integers, uniforms
from clsim.scenario.plan.own_rule import own_assignment
from clsim.scenario.plan.stream_plan import ClassGroups
from clsim.scenario.schema import Assignment, Keep, NoiseSection, OwnRule, StreamSection, Visibility
from clsim.vocabulary import GROUPS, UNKNOWN

Labels = NDArray[np.int8]
Ids = NDArray[np.int64]
_MOST_SHOWN = 10
_ROWS_AT_A_TIME = 16384


def class_order(stream: StreamSection, class_names: Sequence[str], positives: NDArray[Any]) -> Ids:
    """Stream position -> column of `class_names`, int64 [C].

    Args:
        positives: int [C], training images that show each class; only for `order: frequency` (falling, ties by name).

    Raises:
        Unplannable: an explicit order that does not name every class once.
    """
    alphabetical = np.array(sorted(range(len(class_names)), key=lambda column: class_names[column]), dtype=np.int64)
    if isinstance(stream.order, list):
        return _explicit_order(stream.order, class_names)
    if stream.order == "seed":
        return alphabetical[permutation(len(class_names), stream.order_seed, "class order")]
    if stream.order == "frequency":
        return alphabetical[np.argsort(-np.asarray(positives)[alphabetical], kind="stable")]
    return alphabetical


def _explicit_order(order: list[str], class_names: Sequence[str]) -> Ids:
    order = list(map(composed, order))
    count, known = Counter(order), set(class_names)
    unknown = [name for name in count if name not in known]
    repeated = [name for name in count if count[name] > 1]
    missing = [name for name in class_names if name not in count]
    shown = [names[:_MOST_SHOWN] for names in (unknown, repeated, missing)]
    more = sum(map(len, (unknown, repeated, missing))) - sum(map(len, shown))
    unknown, repeated, missing = shown
    problems = [
        *(f"unknown class {name!r}{did_you_mean(name, class_names)}" for name in unknown),
        *(f"class {name!r} is listed more than once" for name in repeated),
        *(f"class {name!r} is missing" for name in missing),
        *([f"and {more} more"] if more else []),
    ]
    if problems:
        raise Unplannable(("stream", "order"), "; ".join(problems))
    return np.array([list(class_names).index(name) for name in order], dtype=np.int64)


def task_ranges(stream: StreamSection, n_classes: int) -> list[tuple[int, int]]:
    """Column range [start, stop) of each task: Bi-Cj; B0-Cj starts with j classes; the last task may be smaller.

    Raises:
        Unplannable: the first task wants more classes than there are.
    """
    first = stream.base or stream.increment
    if first > n_classes:
        key = "base" if stream.base else "increment"
        raise Unplannable(("stream", key), f"given {first}, but there are only {n_classes} classes")
    starts = [0, *range(first, n_classes, stream.increment)]
    return list(zip(starts, [*starts[1:], n_classes], strict=True))


def assign(rule: Assignment, truth: Labels, tasks: Sequence[tuple[int, int]], seed: int) -> list[Ids]:
    """Training images of each task, ascending.

    overlap (KRT family): every image with a positive among the task's classes; it may be in several tasks.
    disjoint (APPLE, AGCN, PRS): each image is in exactly one of them:
        random: any with equal probability; first: the earliest; rarest: the one of its rarest class (fewest positives
        in `truth`, ties by column).
    rule: as a function of the user's says; see `own_assignment`.

    Args:
        truth: int8 [N, C] in stream order; images without a positive are in no task.

    Raises:
        Unplannable: a rule of the user's that fails.
    """
    if isinstance(rule, OwnRule):
        return own_assignment(rule, truth, tasks, seed)
    shows = np.stack([truth[:, slice(*task)].max(axis=1, initial=UNKNOWN) == 1 for task in tasks], axis=1)  # [N, T]
    if rule == "overlap":
        return [np.flatnonzero(column).astype(np.int64) for column in shows.T]
    if rule.disjoint == "first":
        owner = shows.argmax(axis=1)
    elif rule.disjoint == "random":
        count = np.maximum(shows.sum(axis=1), 1).astype(np.uint64)
        pick = raw_integers(len(truth), seed, "assignment") % count
        owner = (shows.cumsum(axis=1) > pick[:, None].astype(np.int64)).argmax(axis=1)
    else:
        rarest_first = np.argsort((truth == 1).sum(axis=0), kind="stable")
        rarest = rarest_first[(truth[:, rarest_first] == 1).argmax(axis=1)]
        owner = np.searchsorted([start for start, _ in tasks], rarest, side="right") - 1
    owner = np.where(shows.any(axis=1), owner, -1)
    return [np.flatnonzero(owner == task).astype(np.int64) for task in range(len(tasks))]


def show(
    rule: Visibility, truth: Labels, samples: Ids, task: int, classes: tuple[int, int], seed: int
) -> tuple[Ids, Labels]:
    """Columns in which labels of a task's rows may be visible, and the visible values.

    task: all labels of the task's classes. full: all labels of all classes.
    keep: each label of the task's classes with probability p, positives and negatives alike.
    single-positive: of each row one random positive among the task's classes and nothing else (Cole et al., CVPR 2021).

    Args:
        truth: int8 [N, C] in stream order.
        samples: int64 [n], the task's images.

    Returns:
        int64 [k] ascending columns and int8 [n, k] values: 1, 0, -1 hidden.
    """
    start, stop = (0, truth.shape[1]) if rule == "full" else classes
    columns = np.arange(start, stop)
    values = np.take(truth[:, start:stop], samples, axis=0)
    if isinstance(rule, Keep):
        values = np.where(_kept(rule, len(truth), samples, len(columns), task, seed), values, UNKNOWN)
    elif rule == "single-positive":
        keys = raw_integers(len(truth) * len(columns), seed, "visible", task).reshape(len(truth), -1)[samples]
        chosen = np.where(values == 1, (keys >> np.uint64(1)).astype(np.int64), -1).argmax(axis=1)
        values = np.where((np.arange(len(columns)) == chosen[:, None]) & (values == 1), values, UNKNOWN)
    return columns.astype(np.int64), np.ascontiguousarray(values, dtype=np.int8)


def show_soft(
    rule: Visibility, soft: NDArray[np.float32], samples: Ids, task: int, columns: Ids, seed: int
) -> NDArray[np.float32] | None:
    """Visible soft labels of a task's rows, float32 [n, k], 0 where a label is hidden or not soft; None: none at all.

    DECIDED: `keep` hides a soft label as any other. `single-positive` shows none: the annotator it stands for names one
    class as present, without a probability.

    Args:
        soft: float32 [N, C] in stream order, 0 where a label is not soft.
        samples: int64 [n], the task's images.
        columns: int64 [k], as `show` returns them.
    """
    if rule == "single-positive":
        return None
    shown = soft[np.ix_(samples, columns)]
    if isinstance(rule, Keep):
        shown = np.where(_kept(rule, len(soft), samples, len(columns), task, seed), shown, np.float32(0))
    return np.ascontiguousarray(shown) if shown.any() else None


def _kept(rule: Keep, n_images: int, samples: Ids, n_columns: int, task: int, seed: int) -> NDArray[np.bool_]:
    """Which labels of a task's rows `keep` shows, bool [n, k]."""
    draws = uniforms(n_images * n_columns, seed, "visible", task).reshape(n_images, -1)[samples]
    return draws < rule.keep


def add_noise(noise: NoiseSection, values: Labels, samples: Ids, n_images: int, task: int, seed: int) -> Labels:
    """Visible values with annotation errors: a positive missed, or a negative marked, with the given probabilities.

    Who is in a task is decided before, on the true labels.

    Args:
        values: int8 [n, k], visible values of the images `samples` int64 [n].
        n_images: N, training images of the data set.
    """
    if not (noise.false_negative or noise.false_positive):
        return values
    draws = uniforms(n_images * values.shape[1], seed, "noise", task).reshape(n_images, -1)[samples]
    missed = (values == 1) & (draws < noise.false_negative)
    marked = (values == 0) & (draws < noise.false_positive)
    return np.select([missed, marked], [0, 1], values).astype(np.int8)


def count_positives(labels: Labels, rows: Ids) -> NDArray[np.int64]:
    """Return how many of the rows show each class, int64 [C]; a part of the rows at a time, to need no copy of all."""
    count = np.zeros(labels.shape[1], dtype=np.int64)
    for first in range(0, len(rows), _ROWS_AT_A_TIME):
        count += (labels[rows[first : first + _ROWS_AT_A_TIME]] == 1).sum(axis=0)
    return count


def class_groups(positives: NDArray[Any], rule: Literal["counts", "terciles", "auto"]) -> ClassGroups:
    """Head, medium and tail by training positives.

    `counts` are the limits of the DB-loss benchmark (Wu et al., ECCV 2020). DECIDED: terciles split the classes,
    sorted by falling positives (ties by column), into thirds, the larger ones first; `auto` takes counts unless a
    group would be empty, because an empty group has no mAP to compare.
    """
    by_count = np.select([positives >= 100, positives >= 20], [0, 1], 2).astype(np.int8)
    if rule == "counts" or (rule == "auto" and len(np.unique(by_count)) == len(GROUPS)):
        return ClassGroups("counts", positives.astype(np.int64), by_count)
    by_tercile = np.empty(len(positives), dtype=np.int8)
    falling = np.argsort(-positives, kind="stable")
    for group, members in enumerate(np.array_split(falling, len(GROUPS))):
        by_tercile[members] = group
    return ClassGroups("terciles", positives.astype(np.int64), by_tercile)
