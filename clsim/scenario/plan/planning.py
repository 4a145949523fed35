"""From a configuration and the true labels to a StreamPlan. Nothing else in clsim decides what is streamed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clsim.data.source import Split
from clsim.errors import Unplannable
from clsim.randomness import permutation
from clsim.scenario.evaluation_schema import GivenImages
from clsim.scenario.plan import long_tail
from clsim.scenario.plan.annotators import Evidence, evidence
from clsim.scenario.plan.blurry import assign_blurry
from clsim.scenario.plan.counts import count_positives
from clsim.scenario.plan.domains import Domains, domains_of
from clsim.scenario.plan.id_lists import read_ids, read_partition
from clsim.scenario.plan.rules import (
    Ids,
    Labels,
    add_noise,
    assign,
    class_groups,
    class_order,
    show,
    show_soft,
)
from clsim.scenario.plan.stream_plan import StreamPlan, TaskPlan
from clsim.scenario.plan.streamed_classes import columns_of, streamed_classes
from clsim.scenario.plan.task_classes import TaskClasses, task_classes
from clsim.scenario.schema import Ids as LongTailIds
from clsim.scenario.schema import ScenarioConfig
from clsim.scenario.stream_schema import Given
from clsim.vocabulary import UNKNOWN

Names = Callable[[Split], Sequence[str]]


@dataclass(frozen=True)
class StreamData:
    """The true labels of a scenario's images, in stream order.

    Attributes:
        class_names: the streamed classes in stream order.
        train: int8 [N, C], true labels of all training images of the data set; 1, 0, -1 not annotated.
        test: int8 [M, C], the same of the test images.
        pool: int64 [P], training images the stream may use: not held out, with a positive among the streamed classes,
            and kept by `labels.long_tail`.
        held_out: int64 [V], training images kept for validation.
        soft: float32 [N, C], soft labels of the training images in (0, 1), 0 where a label is not soft, None: no label
            is; `train` says what they count as in who is in a task, class counts and truth.
        names: ids of the images of a split, for files that list images; None: the data set has none.
        notes: classes of the data set that were joined or left out without being named, and domains, a line each.
        domains: of the training images; None: tasks are no domains.
        evidence: what an annotator goes by beside the truth, as `annotators.evidence` returns it.
        training_rows: int64 [M], the training image that each test image is, -1: none; None: no test image is one.
    """

    class_names: tuple[str, ...]
    train: Labels
    test: Labels
    pool: Ids
    held_out: Ids
    soft: NDArray[np.float32] | None = None
    names: Names | None = None
    notes: tuple[str, ...] = ()
    domains: Domains | None = None
    evidence: Evidence = None
    training_rows: Ids | None = None


def stream_data(
    config: ScenarioConfig,
    class_names: Sequence[str],
    train: Labels,
    test: Labels,
    image_names: Names | None = None,
    soft: NDArray[np.float32] | None = None,
    of_domain: Sequence[str] = (),
    box_areas: NDArray[np.float32] | None = None,
    training_rows: Ids | None = None,
) -> StreamData:
    """Choose and order the classes, hold out the validation share, thin the rest to a long tail.

    DECIDED: the validation share is held out first and so keeps the natural distribution, as the test images do; class
    counts, and with them `order: frequency` and the groups, are those after thinning.

    DECIDED: with `dataset.classes` images without any of the chosen classes are left out, as COCO's images without
    labels are.

    Args:
        class_names: the data set's classes, in its own order.
        train: int8 [N, C], true labels in the data set's order.
        test: int8 [M, C].
        image_names: ids of the images of a split, for files that list images; called only if there is one.
        soft: float32 [N, C], soft labels of the training images, as in `StreamData`.
        of_domain: domain of each training image, with `stream.domains`.
        box_areas: float32 [N, C], of the training images, with `labels.visible: {smallest_box: ..}`.
        training_rows: int64 [M], as in `StreamData`.

    Raises:
        Unplannable: unknown or repeated classes or domains, an impossible order, nothing left to train or to validate
            on, a long tail that cannot be, a list of images that does not fit.
    """
    names, train, test, soft, notes = streamed_classes(config, class_names, train, test, soft)
    usable = np.flatnonzero(train.max(axis=1, initial=UNKNOWN) == 1).astype(np.int64)
    domains = None if config.stream.domains is None else domains_of(config.stream.domains, of_domain)
    if domains is not None:
        usable = usable[domains.of_image[usable] >= 0]
        notes = (*notes, f"domains, a task each: {', '.join(domains.names)}")
    held_out, pool = _validation(config, usable, image_names)
    listed = image_names("train") if image_names and isinstance(config.labels.long_tail, LongTailIds) else None
    pool = long_tail.apply(config.labels.long_tail, train, pool, names, config.stream.seed, listed)
    order = class_order(config.stream, names, count_positives(train, pool))
    streamed = tuple(names[column] for column in order)
    return StreamData(
        streamed,
        columns_of(train, order),
        columns_of(test, order),
        pool,
        held_out,
        None if soft is None else np.ascontiguousarray(soft[:, order]),
        image_names,
        notes,
        domains,
        evidence(config, streamed, class_names, image_names, box_areas),
        training_rows,
    )


def _validation(config: ScenarioConfig, usable: Ids, image_names: Names | None) -> tuple[Ids, Ids]:
    """Return the training images that are held out, by share or by list, and the other usable ones."""
    dataset = config.dataset
    share, file = dataset.validation, dataset.validation_ids
    if config.evaluation.on == "validation" and not share and file is None:
        text = "given 'validation', which needs dataset.validation above 0 or dataset.validation_ids"
        raise Unplannable(("evaluation", "on"), text)
    if file is not None:
        names = None if image_names is None else image_names("train")
        held_out = np.sort(read_ids(Path(file), names, ("dataset", "validation_ids")))
        if not len(pool := np.setdiff1d(usable, held_out)):
            raise Unplannable(("dataset", "validation_ids"), f"{file}: lists all images that can be trained on")
        return held_out, pool
    count = round(share * len(usable))
    if share and not 0 < count < len(usable):
        raise Unplannable(("dataset", "validation"), f"given {share}, which keeps {count} of {len(usable)} images")
    shuffled = usable[permutation(len(usable), config.stream.seed, "validation")]
    return np.sort(shuffled[:count]), np.sort(shuffled[count:])


def build_plan(config: ScenarioConfig, data: StreamData) -> StreamPlan:
    """The plan of a scenario.

    Raises:
        Unplannable: an impossible split, a task without a training image, or soft labels with an oracle memory.
    """
    names, seed = data.class_names, config.stream.seed
    classes = task_classes(config.stream, names, 0 if data.domains is None else len(data.domains.names))
    members = _members(config, data, classes)
    tasks = []
    for index, (own, samples) in enumerate(zip(classes, members, strict=True)):
        if not len(samples):
            shown = ", ".join(names[column] for column in own.current)
            raise Unplannable(("stream",), f"task {index} ({shown}) is empty: no training image shows its classes")
        columns, values = show(config.labels.visible, data.train, samples, index, own.current, seed, data.evidence)
        noisy = add_noise(config.labels.noise, values, samples, index, seed)
        soft = (
            None
            if data.soft is None
            else show_soft(config.labels.visible, data.soft, samples, index, columns, seed, data.evidence)
        )
        # DECIDED: noise leaves soft labels alone, which already say how sure the annotation is.
        values = noisy if soft is None else np.where(soft > 0, values, noisy)
        tasks.append(TaskPlan((own.start, own.stop), samples, columns, values, soft=soft, returning=own.returning))
    if config.memory.labels == "oracle" and any(task.soft is not None for task in tasks):
        raise Unplannable(("memory", "labels"), "given 'oracle', but the data set has soft labels, which are no truth")
    validate = config.evaluation.on == "validation"
    images = data.held_out if validate else _tested(config, data)
    if not validate:
        _refuse_trained(data, members, images)
    scope = config.evaluation.images
    listed = _listed_scope(scope, data, images, len(classes), validate) if isinstance(scope, GivenImages) else None
    return StreamPlan(
        class_names=names,
        tasks=tuple(tasks),
        test_samples=images,
        test_truth=np.ascontiguousarray((data.train if validate else data.test)[images]),
        test_scope="given" if isinstance(scope, GivenImages) else scope,
        scopes=listed,
        groups=class_groups(count_positives(data.train, data.pool), config.evaluation.groups),
        test_split="train" if validate else "test",
        online=None if config.stream.online is None else config.stream.online.batch,
    )


def _members(config: ScenarioConfig, data: StreamData, tasks: Sequence[TaskClasses]) -> list[Ids]:
    """Return the training images of each task, int64 ascending."""
    if data.domains is not None:
        of_image = data.domains.of_image[data.pool]
        return [data.pool[of_image == task] for task in range(len(tasks))]
    rule, seed = config.stream.assignment, config.stream.seed
    if not isinstance(rule, Given):
        again = 1.0 if config.stream.repetition is None else config.stream.repetition.images
        whole = len(data.pool) == len(data.train)  # of a million images no second copy of all labels
        truth = data.train if whole else data.train[data.pool]
        if config.stream.blurry is not None:
            return [data.pool[rows] for rows in assign_blurry(config.stream.blurry, truth, seed)]
        return [data.pool[rows] for rows in assign(rule, truth, tasks, seed, again)]
    key = ("stream", "assignment", "given")
    names = None if data.names is None else data.names("train")
    members = read_partition(Path(rule.given), names, len(tasks), key)
    away = (data.train == 1).any(axis=1)
    away[data.pool] = False
    away[data.held_out] = True
    for index, (task, samples) in enumerate(zip(tasks, members, strict=True)):
        if len(gone := samples[away[samples]]):
            text = f"{rule.given}: {len(gone)} images of task {index} are held out for validation or thinned away"
            raise Unplannable(key, f"{text}, such as {names[gone[0]]!r}" if names else text)
        if len(samples) and not (data.train[np.ix_(samples, task.current)] == 1).any():
            raise Unplannable(key, f"{rule.given}: no image of task {index} shows one of its classes")
    return members


def _tested(config: ScenarioConfig, data: StreamData) -> Ids:
    """Return the test images that take part, int64 ascending."""
    scored = _scored(config, data.test)
    if (file := config.dataset.test_ids) is not None:
        listed = np.zeros(len(scored), dtype=bool)
        names = None if data.names is None else data.names("test")
        listed[read_ids(Path(file), names, ("dataset", "test_ids"), "test")] = True
        scored = scored & listed
        if not scored.any():
            raise Unplannable(("dataset", "test_ids"), f"{file}: lists no image of which a label is known")
    return np.flatnonzero(scored).astype(np.int64)


def _refuse_trained(data: StreamData, members: Sequence[Ids], images: Ids) -> None:
    """Raise Unplannable if a test image that takes part is a training image of a task."""
    if data.training_rows is None:
        return
    tested = data.training_rows[images]
    for index, samples in enumerate(members):
        if len(both := np.intersect1d(samples, tested)):
            name = data.names("train")[both[0]] if data.names else both[0]
            text = f"{len(both)} of these images are trained on in task {index}, such as {name!r}"
            raise Unplannable(("dataset", "test_ids"), text)


def _listed_scope(rule: GivenImages, data: StreamData, images: Ids, n_tasks: int, validate: bool) -> NDArray[np.bool_]:
    """Return which of the scored images count after each task, bool [T, M]."""
    key = ("evaluation", "images", "given")
    split: Split = "train" if validate else "test"
    lists = read_partition(Path(rule.given), None if data.names is None else data.names(split), n_tasks, key, split)
    scope = np.stack([np.isin(images, listed) for listed in lists])
    if rule.lists == "cumulative":
        scope = np.logical_or.accumulate(scope, axis=0)
    for task in np.flatnonzero(~scope.any(axis=1)):
        raise Unplannable(key, f"{rule.given}: no image that is scored counts after task {task}")
    return scope


def _scored(config: ScenarioConfig, labels: Labels) -> Any:
    """Test images that take part, bool [M].

    DECIDED: one of which nothing is known is left out, because it could count in no metric: a row of a manifest without
    a label, or an image that cannot be decoded.
    """
    if isinstance(config.dataset.classes, str):
        return (labels != UNKNOWN).any(axis=1)
    return (labels == 1).any(axis=1)


def joint_plan(
    plan: StreamPlan, truth: Labels, last_only: bool = False, soft: NDArray[np.float32] | None = None
) -> StreamPlan:
    """The derived plan of `joint`: task t holds every image of the stream with a seen class, all seen columns visible.

    It is never online: images of earlier tasks are there again.

    Args:
        truth: int8 [N, C], true training labels in *stream* order.
        last_only: leave all tasks but the last without rows, for data too large to train on once per task.
        soft: float32 [N, C], soft training labels in stream order, as in `StreamData`.
    """
    pool = np.unique(np.concatenate([task.samples for task in plan.tasks]))
    tasks = []
    for index, task in enumerate(plan.tasks):
        seen = task.classes[1]
        samples = pool[(truth[pool, :seen] == 1).any(axis=1)]
        if last_only and index < len(plan.tasks) - 1:
            samples = samples[:0]
        values = np.ascontiguousarray(truth[samples, :seen])
        shown = None if soft is None or not soft[samples, :seen].any() else np.ascontiguousarray(soft[samples, :seen])
        columns = np.arange(seen, dtype=np.int64)
        tasks.append(TaskPlan(task.classes, samples, columns, values, soft=shown, returning=task.returning))
    return replace(plan, tasks=tuple(tasks), derived_from=plan.family, online=None)


def oracle_memory_plan(plan: StreamPlan, truth: Labels) -> StreamPlan:
    """The derived plan of `memory.labels: oracle`: stored rows carry the true labels of all classes.

    Not a partial-label protocol: it is what KRT's released code does, and there to reproduce its table.

    Args:
        truth: int8 [N, C], true training labels in *stream* order.
    """
    tasks = tuple(replace(task, memory_values=np.ascontiguousarray(truth[task.samples])) for task in plan.tasks)
    return replace(plan, tasks=tasks, derived_from=plan.family)
