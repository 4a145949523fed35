"""Which of a data set's classes are streamed, and which of its names are one class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clsim.data.class_names import alike, composed, folded, groups, shown, unfit_names
from clsim.errors import Unplannable, did_you_mean
from clsim.scenario.plan.rules import Ids, Labels
from clsim.scenario.schema import ScenarioConfig

Soft = NDArray[np.float32] | None


class Streamed(NamedTuple):
    """The streamed classes in the data set's order.

    Attributes:
        names: of the C classes.
        train: int8 [N, C], labels of the training images.
        test: int8 [M, C], labels of the test images.
        soft: float32 [N, C], soft labels of the training images, as in `StreamData`.
        notes: classes that were joined or left out, a line each.
    """

    names: list[str]
    train: Labels
    test: Labels
    soft: Soft
    notes: tuple[str, ...]


def streamed_classes(
    config: ScenarioConfig, class_names: Sequence[str], train: Labels, test: Labels, soft: Soft
) -> Streamed:
    """Return the classes to stream: checked, joined and chosen as the section `dataset` says.

    Raises:
        Unplannable: names that cannot be shown, two spellings of one name, unknown or repeated classes.
    """
    if unfit := unfit_names(class_names):
        text = f"class {unfit[0]!r} ({len(unfit)} like it) holds a line break or another control character"
        raise Unplannable(("dataset",), text)
    if config.dataset.spellings == "join":
        every = _joined(class_names, train, test, soft)
    else:
        _refuse_spellings(config, class_names)
        every = Streamed(list(map(composed, class_names)), train, test, soft, ())
    chosen = _chosen_columns(config, every)
    names = [every.names[column] for column in chosen]
    notes = every.notes
    if config.dataset.classes == "used" and (unused := [name for name in every.names if name not in names]):
        notes = (*notes, f"classes that no image shows, left out (dataset.classes: used): {', '.join(unused)}")
    of_chosen = None if every.soft is None else every.soft[:, chosen]
    return Streamed(names, columns_of(every.train, chosen), columns_of(every.test, chosen), of_chosen, notes)


def columns_of(labels: Labels, columns: Sequence[int] | Ids) -> Labels:
    """Return columns of labels [N, C] in an order, C-contiguous; the labels themselves where that is what they are."""
    if np.array_equal(columns, np.arange(labels.shape[1])):
        return np.ascontiguousarray(labels)
    return np.take(labels, columns, axis=1)


def _refuse_spellings(config: ScenarioConfig, class_names: Sequence[str]) -> None:
    """Refuse two spellings of one name unless the configuration lists both.

    DECIDED: which of the two is meant, or whether both are, only the user can say; a list of classes says it.
    """
    same = [pair for pair in alike(class_names) if composed(pair[0]) == composed(pair[1])]
    options = [config.dataset.classes, *(getattr(config.dataset, key, None) for key in _LISTS_OF_CLASSES)]
    listed = any(isinstance(given, list) for given in options)
    if pairs := same if listed else alike(class_names):
        text = (
            f"classes {shown(pairs[0][0])} and {shown(pairs[0][1])} ({len(pairs)} like them) differ in spelling alone"
        )
        advice = "dataset.spellings: join makes them one class; if they are two, list all classes under dataset.classes"
        raise Unplannable(("dataset",), f"{text}; {advice}")


_LISTS_OF_CLASSES = ("vocabulary", "label_columns", "class_names")


def _joined(class_names: Sequence[str], train: Labels, test: Labels, soft: Soft) -> Streamed:
    """Join the columns of names that are alike, under the spelling that most training images have.

    DECIDED: a class is present where one of its spellings is, else absent where one of them is absent, because
    tables that were joined leave the columns of the others blank.
    """
    position = {name: column for column, name in enumerate(class_names)}
    positives = (train == 1).sum(axis=0)
    names, notes, columns = [], [], []
    for group in groups(class_names):
        name = max(group, key=lambda one: positives[position[one]])
        columns.append([position[one] for one in group])
        names.append(composed(name))
        if others := [shown(one) for one in group if one != name]:
            notes.append(f"joined as class {shown(name)} (dataset.spellings: join): {', '.join(others)}")
    of_train, of_test = (np.stack([labels[:, one].max(axis=1) for one in columns], axis=1) for labels in (train, test))
    if soft is None:
        return Streamed(names, of_train, of_test, None, tuple(notes))
    values = np.stack([soft[:, one].max(axis=1) for one in columns], axis=1)
    hard = np.stack([((train[:, one] == 1) & (soft[:, one] == 0)).any(axis=1) for one in columns], axis=1)
    values[hard] = 0
    rows = np.arange(len(train))
    softest = np.stack([train[rows, np.array(one)[soft[:, one].argmax(axis=1)]] for one in columns], axis=1)
    return Streamed(names, np.where(values > 0, softest, of_train), of_test, values, tuple(notes))


def _chosen_columns(config: ScenarioConfig, every: Streamed) -> list[int]:
    given = config.dataset.classes
    if given == "all":
        return list(range(len(every.names)))
    if given == "used":
        used = (every.train == 1).any(axis=0) | (every.test == 1).any(axis=0)
        if every.soft is not None:
            used |= (every.soft > 0).any(axis=0)
        if not used.any():
            raise Unplannable(("dataset", "classes"), "given 'used', but no image shows a class")
        return [int(column) for column in np.flatnonzero(used)]
    wanted = list(map(composed, given))
    if config.dataset.spellings == "join":
        kept = {folded(name): name for name in every.names}
        wanted = [kept.get(folded(name), name) for name in wanted]
    for name in wanted:
        if name not in every.names:
            raise Unplannable(("dataset", "classes"), f"unknown class {name!r}{did_you_mean(name, every.names)}")
        if wanted.count(name) > 1:
            raise Unplannable(("dataset", "classes"), f"class {name!r} is listed more than once")
    if not wanted:
        raise Unplannable(("dataset", "classes"), "an empty list; name at least one class, or all")
    return [column for column, name in enumerate(every.names) if name in wanted]
