"""From a configuration and the true labels to a StreamPlan. Nothing else in clsim decides what is streamed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clsim.data.class_names import alike, composed, shown, unfit_names
from clsim.errors import Unplannable, did_you_mean
from clsim.randomness import permutation
from clsim.scenario.plan import long_tail
from clsim.scenario.plan.rules import (
    Ids,
    Labels,
    add_noise,
    assign,
    class_groups,
    class_order,
    count_positives,
    show,
    show_soft,
    task_ranges,
)
from clsim.scenario.plan.stream_plan import StreamPlan, TaskPlan
from clsim.scenario.schema import ScenarioConfig
from clsim.vocabulary import GROUPS, UNKNOWN


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
    """

    class_names: tuple[str, ...]
    train: Labels
    test: Labels
    pool: Ids
    held_out: Ids
    soft: NDArray[np.float32] | None = None


def stream_data(
    config: ScenarioConfig,
    class_names: Sequence[str],
    train: Labels,
    test: Labels,
    image_names: Sequence[str] | None = None,
    soft: NDArray[np.float32] | None = None,
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
        image_names: ids of the N training images, for `long_tail: {ids: file}`.
        soft: float32 [N, C], soft labels of the training images, as in `StreamData`.

    Raises:
        Unplannable: unknown or repeated classes, an impossible order, nothing left to train or to validate on, a long
            tail that cannot be.
    """
    _check_names(config, class_names)
    class_names = list(map(composed, class_names))
    chosen = _chosen_columns(config, class_names)
    names, train, test = [class_names[column] for column in chosen], _columns(train, chosen), _columns(test, chosen)
    usable = np.flatnonzero(train.max(axis=1, initial=UNKNOWN) == 1).astype(np.int64)
    share = config.dataset.validation
    if config.evaluation.on == "validation" and not share:
        raise Unplannable(("evaluation", "on"), "given 'validation', which needs dataset.validation above 0")
    count = round(share * len(usable))
    if share and not 0 < count < len(usable):
        raise Unplannable(("dataset", "validation"), f"given {share}, which keeps {count} of {len(usable)} images")
    shuffled = usable[permutation(len(usable), config.stream.seed, "validation")]
    held_out, pool = np.sort(shuffled[:count]), np.sort(shuffled[count:])
    pool = long_tail.apply(config.labels.long_tail, train, pool, names, config.stream.seed, image_names)
    order = class_order(config.stream, names, count_positives(train, pool))
    return StreamData(
        tuple(names[column] for column in order),
        _columns(train, order),
        _columns(test, order),
        pool,
        held_out,
        None if soft is None else np.ascontiguousarray(soft[:, np.array(chosen)[order]]),
    )


def _columns(labels: Labels, columns: Sequence[int] | Ids) -> Labels:
    """Return columns of labels [N, C] in an order, C-contiguous; the labels themselves where that is what they are."""
    if np.array_equal(columns, np.arange(labels.shape[1])):
        return np.ascontiguousarray(labels)
    return np.take(labels, columns, axis=1)


def _check_names(config: ScenarioConfig, class_names: Sequence[str]) -> None:
    """Refuse names with a line break, and two spellings of one name unless the configuration lists both.

    DECIDED: which of the two is meant, or whether both are, only the user can say; a list of classes says it.
    """
    if unfit := unfit_names(class_names):
        text = f"class {unfit[0]!r} ({len(unfit)} like it) holds a line break or another control character"
        raise Unplannable(("dataset",), text)
    same = [pair for pair in alike(class_names) if composed(pair[0]) == composed(pair[1])]
    options = [config.dataset.classes, *(getattr(config.dataset, key, None) for key in _LISTS_OF_CLASSES)]
    listed = any(isinstance(given, list) for given in options)
    if pairs := same if listed else alike(class_names):
        text = (
            f"classes {shown(pairs[0][0])} and {shown(pairs[0][1])} ({len(pairs)} like them) differ in spelling alone"
        )
        advice = "if they are one, mend the data; if they are two, list all classes under dataset.classes"
        raise Unplannable(("dataset",), f"{text}; {advice}")


_LISTS_OF_CLASSES = ("vocabulary", "label_columns", "class_names")


def _chosen_columns(config: ScenarioConfig, class_names: Sequence[str]) -> list[int]:
    if config.dataset.classes == "all":
        return list(range(len(class_names)))
    wanted = list(map(composed, config.dataset.classes))
    for name in wanted:
        if name not in class_names:
            raise Unplannable(("dataset", "classes"), f"unknown class {name!r}{did_you_mean(name, class_names)}")
        if wanted.count(name) > 1:
            raise Unplannable(("dataset", "classes"), f"class {name!r} is listed more than once")
    if not wanted:
        raise Unplannable(("dataset", "classes"), "an empty list; name at least one class, or all")
    return [column for column, name in enumerate(class_names) if name in wanted]


def build_plan(config: ScenarioConfig, data: StreamData) -> StreamPlan:
    """The plan of a scenario.

    Raises:
        Unplannable: an impossible split, a task without a training image, or soft labels with an oracle memory.
    """
    names, seed = data.class_names, config.stream.seed
    ranges = task_ranges(config.stream, len(names))
    within = assign(config.stream.assignment, data.train[data.pool], ranges, seed)
    tasks = []
    for index, (classes, positions) in enumerate(zip(ranges, within, strict=True)):
        samples = data.pool[positions]
        if not len(samples):
            shown = ", ".join(names[slice(*classes)])
            raise Unplannable(("stream",), f"task {index} ({shown}) is empty: no training image shows its classes")
        columns, values = show(config.labels.visible, data.train, samples, index, classes, seed)
        noisy = add_noise(config.labels.noise, values, samples, len(data.train), index, seed)
        soft = None if data.soft is None else show_soft(config.labels.visible, data.soft, samples, index, columns, seed)
        # DECIDED: noise leaves soft labels alone, which already say how sure the annotation is.
        values = noisy if soft is None else np.where(soft > 0, values, noisy)
        tasks.append(TaskPlan(classes, samples, columns, values, soft=soft))
    if config.memory.labels == "oracle" and any(task.soft is not None for task in tasks):
        raise Unplannable(("memory", "labels"), "given 'oracle', but the data set has soft labels, which are no truth")
    validate = config.evaluation.on == "validation"
    images = data.held_out if validate else np.flatnonzero(_scored(config, data.test)).astype(np.int64)
    return StreamPlan(
        class_names=names,
        tasks=tuple(tasks),
        test_samples=images,
        test_truth=np.ascontiguousarray((data.train if validate else data.test)[images]),
        test_scope=config.evaluation.images,
        groups=class_groups(count_positives(data.train, data.pool), config.evaluation.groups),
        test_split="train" if validate else "test",
    )


def _scored(config: ScenarioConfig, labels: Labels) -> Any:
    """Test images that take part, bool [M].

    DECIDED: one of which nothing is known is left out, because it could count in no metric: a row of a manifest without
    a label, or an image that cannot be decoded.
    """
    if config.dataset.classes == "all":
        return (labels != UNKNOWN).any(axis=1)
    return (labels == 1).any(axis=1)


def joint_plan(
    plan: StreamPlan, truth: Labels, last_only: bool = False, soft: NDArray[np.float32] | None = None
) -> StreamPlan:
    """The derived plan of `joint`: task t holds every image of the stream with a seen class, all seen columns visible.

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
        tasks.append(TaskPlan(task.classes, samples, np.arange(seen, dtype=np.int64), values, soft=shown))
    return replace(plan, tasks=tuple(tasks), derived_from=plan.family)


def oracle_memory_plan(plan: StreamPlan, truth: Labels) -> StreamPlan:
    """The derived plan of `memory.labels: oracle`: stored rows carry the true labels of all classes.

    Not a partial-label protocol: it is what KRT's released code does, and there to reproduce its table.

    Args:
        truth: int8 [N, C], true training labels in *stream* order.
    """
    tasks = tuple(replace(task, memory_values=np.ascontiguousarray(truth[task.samples])) for task in plan.tasks)
    return replace(plan, tasks=tasks, derived_from=plan.family)


def plan_notes(plan: StreamPlan) -> list[str]:
    """Return what a plan can be run with but somebody should know, a line each: classes and tasks too small."""
    shown = np.zeros(plan.n_classes, dtype=bool)
    for task in plan.tasks:
        shown[task.columns] |= (task.values == 1).any(axis=0)
        if task.soft is not None:
            shown[task.columns] |= (task.soft > 0).any(axis=0)
    tested = (plan.test_truth == 1).any(axis=0)
    nowhere = {
        "classes that no training image shows, and no method can learn": ~shown,
        f"classes that no {plan.test_split} image shows, and no metric counts": ~tested,
    }
    notes = []
    for what, absent in nowhere.items():
        if names := [plan.class_names[column] for column in np.flatnonzero(absent)]:
            notes.append(f"{what}: {', '.join(names)}")
    if single := [str(index) for index, task in enumerate(plan.tasks) if len(task) == 1]:
        text = "batch norm over maps of 1 x 1 pixels takes its stored statistics there"
        notes.append(f"tasks of one training image: {', '.join(single)}; {text}")
    return notes


def describe(plan: StreamPlan, truth: Labels) -> dict[str, Any]:
    """What `clsim plan` shows: JSON-ready, per task its classes, images, positives and missing labels.

    Args:
        truth: int8 [N, C], true training labels in stream order; only to count what the stream hides.
    """
    tasks = []
    for index, task in enumerate(plan.tasks):
        visible = np.full((len(task), plan.n_classes), UNKNOWN, dtype=np.int8)
        visible[:, task.columns] = task.values
        hidden = (visible == UNKNOWN) & (truth[task.samples] != UNKNOWN)
        tasks.append(
            {
                "index": index,
                "classes": plan.names(task),
                "train_images": len(task),
                "rows_without_positive": int((~(visible == 1).any(axis=1)).sum()),
                "test_images": int(plan.in_scope(task.classes[1]).sum()),
                "positives": {
                    plan.class_names[column]: int((visible[:, column] == 1).sum()) for column in task.columns
                },
                "hidden_positives": int((hidden & (truth[task.samples] == 1)).sum()),
                "hidden_labels": int(hidden.sum()),
                **({} if task.soft is None else {"soft_labels": int((task.soft > 0).sum())}),
            }
        )
    return {
        "sha256": plan.sha256,
        "classes": list(plan.class_names),
        "train_images": len(np.unique(np.concatenate([task.samples for task in plan.tasks]))),
        "train_rows": plan.n_train_rows,
        "test_images": len(plan.test_samples),
        "test_split": plan.test_split,
        "groups": {
            "rule": plan.groups.rule,
            "imbalance": _imbalance(plan.groups.positives),
            "positives": dict(zip(plan.class_names, plan.groups.positives.tolist(), strict=True)),
            **{name: [plan.class_names[c] for c in plan.groups.columns(name)] for name in GROUPS},
        },
        "tasks": tasks,
        "notes": plan_notes(plan),
    }


def _imbalance(positives: Any) -> float | None:
    """Positives of the commonest class / of the rarest; None if one has none."""
    return round(float(positives.max() / positives.min()), 2) if positives.min() else None
