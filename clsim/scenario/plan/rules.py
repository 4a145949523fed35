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
from clsim.randomness import permutation, raw_integers, raw_rows, uniform_rows, uniforms
from clsim.scenario.plan.annotators import Evidence
from clsim.scenario.plan.blurry import n_blurry
from clsim.scenario.plan.counts import rarest_class
from clsim.scenario.plan.own_rule import own_assignment
from clsim.scenario.plan.stream_plan import ClassGroups
from clsim.scenario.plan.task_classes import TaskClasses
from clsim.scenario.schema import Keep, KeepByClass, MachineLabels, NoiseSection, SmallestBox, Visibility
from clsim.scenario.stream_schema import Disjoint, OwnRule, StreamSection
from clsim.vocabulary import GROUPS, UNKNOWN

Labels = NDArray[np.int8]
Ids = NDArray[np.int64]
_MOST_SHOWN = 10


def class_order(stream: StreamSection, class_names: Sequence[str], positives: NDArray[Any]) -> Ids:
    """Stream position -> column of `class_names`, int64 [C].

    Args:
        positives: int [C], training images that show each class; only for `order: frequency` (falling, ties by name).

    Raises:
        Unplannable: an explicit order, or tasks, that do not name every class once.
    """
    if stream.tasks is not None:
        return _explicit_order(_first_named(stream.tasks), class_names, "tasks")
    order = _plain_order(stream, class_names, positives)
    if stream.blurry is None:
        return order
    return np.roll(order, n_blurry(stream.blurry, len(order)))  # blurry classes are the last, and appear first


def _plain_order(stream: StreamSection, class_names: Sequence[str], positives: NDArray[Any]) -> Ids:
    alphabetical = np.array(sorted(range(len(class_names)), key=lambda column: class_names[column]), dtype=np.int64)
    if isinstance(stream.order, list):
        return _explicit_order(stream.order, class_names, "order")
    if stream.order == "seed":
        return alphabetical[permutation(len(class_names), stream.order_seed, "class order")]
    if stream.order == "frequency":
        return alphabetical[np.argsort(-np.asarray(positives)[alphabetical], kind="stable")]
    return alphabetical


def _first_named(tasks: list[list[str]]) -> list[str]:
    """Return the names in tasks in the order of their first appearance; one that a task names twice stays double."""
    found: list[str] = []
    for task in tasks:
        before = set(map(composed, found))
        found += [name for name in task if composed(name) not in before]
    return found


def _explicit_order(order: list[str], class_names: Sequence[str], key: str) -> Ids:
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
        raise Unplannable(("stream", key), "; ".join(problems))
    return np.array([list(class_names).index(name) for name in order], dtype=np.int64)


def assign(
    rule: Literal["overlap"] | Disjoint | OwnRule,
    truth: Labels,
    tasks: Sequence[TaskClasses],
    seed: int,
    returning: float = 1.0,
) -> list[Ids]:
    """Training images of each task, ascending.

    overlap (KRT family): every image with a positive among the task's classes; it may be in several tasks.
    disjoint (APPLE, AGCN, PRS): each image is in exactly one of them:
        random: any with equal probability; first: the earliest; rarest: one whose classes its rarest class is among
        (fewest positives in `truth`, ties by column), with equal probability.
    rule: as a function of the user's says, which is given the new classes; see `own_assignment`.

    Args:
        truth: int8 [N, C] in stream order; images without a positive are in no task.
        returning: probability that an image which fits a task by returning classes alone may be in it.

    Raises:
        Unplannable: a rule of the user's that fails.
    """
    if isinstance(rule, OwnRule):
        return own_assignment(rule, truth, tasks, seed)
    shows = np.stack([_fits(truth, task, index, seed, returning) for index, task in enumerate(tasks)], axis=1)  # [N, T]
    if rule == "overlap":
        return [np.flatnonzero(column).astype(np.int64) for column in shows.T]
    if rule.disjoint == "first":
        owner = shows.argmax(axis=1)
    else:
        if rule.disjoint == "rarest":
            rarest = rarest_class(truth)
            shows &= np.stack([np.isin(rarest, task.current) for task in tasks], axis=1)
        count = np.maximum(shows.sum(axis=1), 1).astype(np.uint64)
        pick = raw_integers(len(truth), seed, "assignment") % count
        owner = (shows.cumsum(axis=1) > pick[:, None].astype(np.int64)).argmax(axis=1)
    owner = np.where(shows.any(axis=1), owner, -1)
    return [np.flatnonzero(owner == task).astype(np.int64) for task in range(len(tasks))]


def _fits(truth: Labels, task: TaskClasses, index: int, seed: int, returning: float) -> NDArray[np.bool_]:
    """Which images may be in a task, bool [N]."""
    new: NDArray[np.bool_] = truth[:, task.start : task.stop].max(axis=1, initial=UNKNOWN) == 1
    if not task.returning:
        return new
    again: NDArray[np.bool_] = (truth[:, list(task.returning)] == 1).any(axis=1)
    if returning < 1:
        again &= uniforms(len(truth), seed, "returning images", index) < returning
    return new | again


def show(
    rule: Visibility, truth: Labels, samples: Ids, task: int, classes: Ids, seed: int, evidence: Evidence = None
) -> tuple[Ids, Labels]:
    """Columns in which labels of a task's rows may be visible, and the visible values.

    task: all labels of the task's classes. full: all labels of all classes.
    keep: each label of the task's classes with probability p, positives and negatives alike.
    per_class: as keep, with a probability of each class.
    single-positive: of each row one random positive among the task's classes and nothing else (Cole et al., CVPR 2021).
    smallest_box: all labels of the task's classes, but a class whose largest box is too small reads as absent, or is
        hidden. DECIDED: absent is the default, because where all else is known, a hidden label says that it is present.
        A class without a known box is seen.
    confidences: what a machine says of the task's classes, in place of the truth.

    Args:
        truth: int8 [N, C] in stream order.
        samples: int64 [n], the task's images, ascending.
        classes: int64 [k], ascending columns of the task's classes.
        evidence: what the annotator goes by beside the truth; see `annotators.evidence`.

    Returns:
        int64 [k] ascending columns and int8 [n, k] values: 1, 0, -1 hidden.
    """
    columns = np.arange(truth.shape[1]) if rule == "full" else classes
    values = _block(truth, samples, columns)
    if isinstance(rule, Keep | KeepByClass):
        share = _share(rule, columns, evidence)
        values = np.where(_kept(share, samples, len(columns), task, seed), values, UNKNOWN)
    elif isinstance(rule, SmallestBox):
        unseen = (values == 1) & _too_small(rule, samples, columns, evidence)
        values = np.where(unseen, 0 if rule.unseen == "absent" else UNKNOWN, values)
    elif isinstance(rule, MachineLabels):
        assert evidence is not None
        values = _block(evidence, samples, columns)
    elif rule == "single-positive":
        chosen = np.empty(len(samples), dtype=np.int64)
        for part, keys in raw_rows(samples, len(columns), seed, "visible", task):
            chosen[part] = np.where(values[part] == 1, (keys >> np.uint64(1)).astype(np.int64), -1).argmax(axis=1)
        values = np.where((np.arange(len(columns)) == chosen[:, None]) & (values == 1), values, UNKNOWN)
    return columns.astype(np.int64), np.ascontiguousarray(values, dtype=np.int8)


def _block(truth: NDArray[Any], samples: Ids, columns: Ids) -> NDArray[Any]:
    """Return entries of rows and ascending columns, [n, k]; of neighbouring columns without an index for each."""
    start, stop = (int(columns[0]), int(columns[-1]) + 1) if len(columns) else (0, 0)
    if stop - start == len(columns):
        return np.take(truth[:, start:stop], samples, axis=0)
    return truth[np.ix_(samples, columns)]


def show_soft(
    rule: Visibility,
    soft: NDArray[np.float32],
    samples: Ids,
    task: int,
    columns: Ids,
    seed: int,
    evidence: Evidence = None,
) -> NDArray[np.float32] | None:
    """Visible soft labels of a task's rows, float32 [n, k], 0 where a label is hidden or not soft; None: none at all.

    DECIDED: `keep`, `per_class` and `smallest_box` hide a soft label as any other. `single-positive` and `confidences`
    show none: the first annotator names one class as present, the second has labels of its own.

    Args:
        soft: float32 [N, C] in stream order, 0 where a label is not soft.
        samples: int64 [n], the task's images.
        columns: int64 [k], as `show` returns them.
        evidence: as in `show`.
    """
    if rule == "single-positive" or isinstance(rule, MachineLabels):
        return None
    shown = soft[np.ix_(samples, columns)]
    if isinstance(rule, Keep | KeepByClass):
        share = _share(rule, columns, evidence)
        shown = np.where(_kept(share, samples, len(columns), task, seed), shown, np.float32(0))
    elif isinstance(rule, SmallestBox):
        shown = np.where(_too_small(rule, samples, columns, evidence), np.float32(0), shown)
    return np.ascontiguousarray(shown) if shown.any() else None


def _share(rule: Keep | KeepByClass, columns: Ids, evidence: Evidence) -> Any:
    """Return the probability that a label is visible: of all columns, or float64 [k]."""
    if isinstance(rule, Keep):
        return rule.keep
    assert evidence is not None
    return evidence[columns]


def _too_small(rule: SmallestBox, samples: Ids, columns: Ids, evidence: Evidence) -> NDArray[np.bool_]:
    """Return where the largest box of a class is known and below the limit, bool [n, k]."""
    assert evidence is not None
    small: NDArray[np.bool_] = _block(evidence, samples, columns) < rule.smallest_box
    return small


def _kept(share: Any, samples: Ids, n_columns: int, task: int, seed: int) -> NDArray[np.bool_]:
    """Return which labels of a task's rows are visible with a probability, bool [n, k]."""
    kept = np.empty((len(samples), n_columns), dtype=bool)
    for part, draws in uniform_rows(samples, n_columns, seed, "visible", task):
        kept[part] = draws < share
    return kept


def add_noise(noise: NoiseSection, values: Labels, samples: Ids, task: int, seed: int) -> Labels:
    """Visible values with annotation errors: a positive missed, or a negative marked, with the given probabilities.

    Who is in a task is decided before, on the true labels.

    Args:
        values: int8 [n, k], visible values of the images `samples`, int64 [n] ascending.
    """
    if not (noise.false_negative or noise.false_positive):
        return values
    noisy = values.copy()
    for part, draws in uniform_rows(samples, values.shape[1], seed, "noise", task):
        missed = (values[part] == 1) & (draws < noise.false_negative)
        marked = (values[part] == 0) & (draws < noise.false_positive)
        noisy[part] = np.select([missed, marked], [0, 1], values[part])
    return noisy


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
