"""Which rows a memory keeps."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from clsim.errors import RunError
from clsim.part_kinds import KINDS
from clsim.parts import made
from clsim.randomness import permutation, raw_integers

if TYPE_CHECKING:
    from clsim.training.memory.store import Memory

Floats = NDArray[np.float32]


class Selection(Protocol):
    """A policy that chooses which rows to keep.

    A policy with state between two calls, such as counts of offered rows, has `state_dict` and
    `load_state_dict`; its state is saved with the memory.

    Attributes:
        needs_features: whether `choose` wants the features of the rows that are offered.
        asks_network: whether it asks `memory.view`; a user's class may leave it out, which means no.
        takes_batches: whether the rows of a task may be offered in portions, as an online stream does.
    """

    needs_features: bool
    asks_network: bool
    takes_batches: bool

    def choose(self, memory: Memory, task: int, features: Floats | None = None) -> NDArray[np.int64]:
        """Return the positions in the memory to keep, int64 [m], after rows of `task` have been appended to it.

        It is called once for each offer: when a task ends for all its rows (`memory.whole`), or in a stream that each
        row passes once for one portion after another.

        Args:
            memory: its rows, the last `memory.offered` of which are offered now. `memory.view` says what the network
                thinks of all of them: features, logits, probabilities, losses, logits of augmented images.
            task: index of the task.
            features: of the n offered rows under the model as it is, float32 [n, d], if `needs_features`.
        """
        ...


class TaskByTask:
    """Keeps of each task the rows it prefers; an older task's share may shrink, its order of preference stays.

    Where a task's rows come in portions, the rows kept so far are ranked anew with each portion. DECIDED: each row then
    has a random key of its own in place of one by its place in the task, so that a row that comes early is kept as
    often as one that comes late.
    """

    needs_features = False
    asks_network = False
    takes_batches = True

    def rank(self, labels: Floats, seed: int, task: int, count: int, features: Floats | None) -> NDArray[np.int64]:
        """Preference among a task's n rows, best first, int64 [n].

        Args:
            labels: float32 [n, k], stored labels of the task's own k classes.
            seed: the run's seed.
            task: index of the task.
            count: so many are wanted; the order of the others does not matter.
            features: float32 [n, d], if `needs_features`.
        """
        raise NotImplementedError

    def choose(self, memory: Memory, task: int, features: Floats | None = None) -> NDArray[np.int64]:
        counts = memory.budget.of_tasks(memory.tasks[: task + 1])
        kept = []
        for stored in np.unique(memory.stored_by):
            group = np.flatnonzero(memory.stored_by == stored)
            count = counts[int(stored)]
            if stored == task:
                group = group[self._order(memory, group, task, count, features)]
            kept.append(group[:count])
        return np.concatenate(kept)

    def _order(
        self, memory: Memory, group: NDArray[np.int64], task: int, count: int, features: Floats | None
    ) -> NDArray[np.int64]:
        """Return the order of preference of the rows `group` of the current task, int64 [n]."""
        labels = memory.labels[np.ix_(group, memory.tasks[task].current)]
        if memory.whole:
            return self.rank(labels, memory.seed, task, count, features)
        keys = raw_integers(int(memory.rows[group].max()) + 1, memory.seed, "portions", task)[memory.rows[group]]
        placed = np.empty_like(group)  # so that `permutation`, by which rankings shuffle, goes by the keys
        placed[permutation(len(group), memory.seed, "memory", task)] = np.argsort(keys, kind="stable")
        if self.needs_features:
            assert memory.view is not None  # whoever offers portions has a network
            features = memory.view.features(group[placed])
        return placed[self.rank(labels[placed], memory.seed, task, count, features)]


class RandomSelection(TaskByTask):
    """Rows in a uniform random order."""

    def rank(self, labels: Floats, seed: int, task: int, count: int, features: Floats | None) -> NDArray[np.int64]:
        return permutation(len(labels), seed, "memory", task)


class ClassBalancedSelection(TaskByTask):
    """Take one row per class in turn; in each round the class with the fewest positives comes first.

    So every prefix is as balanced over classes as single rows allow, and a shrinking memory stays balanced. Inside a
    class the order is random; a row is taken once, for whichever of its classes comes first.
    """

    def rank(self, labels: Floats, seed: int, task: int, count: int, features: Floats | None) -> NDArray[np.int64]:
        shuffled = permutation(len(labels), seed, "memory", task)
        positive = labels[shuffled] == 1
        rarest_first = np.argsort(positive.sum(axis=0), kind="stable")
        queues = [iter(shuffled[positive[:, column]].tolist()) for column in rarest_first]
        return round_robin(queues, shuffled, count)


class HerdingSelection(TaskByTask):
    """Herding, class by class (iCaRL; Rebuffi et al., CVPR 2017, algorithm 4): prefixes whose mean is the class's mean.

    Of the positives of a class, in the space of L2-normalised features, the next row is the one that brings the mean of
    the rows chosen so far closest to the mean of them all. DECIDED, for images of several classes: each class has a
    list of its own over all its positives, and the lists are merged as in `ClassBalancedSelection`, the rarest class
    first, a row taken once. Equal distances go to the earlier row, rows without a positive last, in random order.
    """

    needs_features = True

    def rank(self, labels: Floats, seed: int, task: int, count: int, features: Floats | None) -> NDArray[np.int64]:
        if features is None:
            raise ValueError("herding needs the features of the task's rows")
        points = features.astype(np.float64)
        points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
        positive = labels == 1
        rarest_first = np.argsort(positive.sum(axis=0), kind="stable")
        members = [np.flatnonzero(positive[:, column]) for column in rarest_first]
        queues = [_herd(points[rows], rows) for rows in members if len(rows)]
        return round_robin(queues, permutation(len(labels), seed, "memory", task), count)


def _herd(points: NDArray[np.float64], rows: NDArray[np.int64]) -> Iterator[int]:
    """`rows` int64 [n] with `points` [n, d]: the next always brings the mean so far closest to the mean of all.

    One product of all points with a vector finds the few that may be closest, of lengths up to 1; their distances
    decide. Rounding of the product so makes no tie and breaks none.
    """
    mean, total = points.mean(axis=0), np.zeros(points.shape[1])
    squares = np.einsum("ij,ij->i", points, points)  # infinite for points that have been taken
    for count in range(1, len(points) + 1):
        scaled = squares + points @ (2 * (total - count * mean))  # distance^2 * count^2, but for what all have alike
        near = np.flatnonzero(scaled <= scaled.min() + 1e-11 * count)
        best = int(near[(((total + points[near]) / count - mean) ** 2).sum(axis=1).argmin()])
        squares[best] = np.inf
        total = total + points[best]
        yield int(rows[best])


def round_robin(queues: list[Iterator[int]], everything: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return rows taken from the queues in turn, each once; then the rest in the order of `everything`, int64 [n].

    No queue is asked for more once there are `count`.
    """
    order: list[int] = []
    taken = np.zeros(len(everything), dtype=bool)
    while queues and len(order) < count:
        for queue in list(queues):
            row = next((row for row in queue if not taken[row]), None)
            if row is None:
                queues.remove(queue)
            else:
                taken[row] = True
                order.append(int(row))
    order.extend(int(row) for row in everything[~taken[everything]])
    return np.array(order, dtype=np.int64)


class ReservoirSelection:
    """A uniform sample of all rows seen so far, whatever their classes (as reservoir sampling; Vitter, 1985).

    Each row has a random key of its own, and the rows with the smallest keys are kept: the same distribution, and no
    state but the rows. Exactly uniform under a total budget; one per class grows with the classes, and what an earlier,
    smaller memory has dropped cannot come back, so that rows of earlier tasks are then rarer. In which batches and in
    which order rows come makes no difference.
    """

    needs_features = False
    asks_network = False
    takes_batches = True

    def choose(self, memory: Memory, task: int, features: Floats | None = None) -> NDArray[np.int64]:
        keys = _reservoir_keys(int(memory.rows.max(initial=0)).bit_length(), memory.seed)[memory.rows]
        return np.sort(np.argsort(keys, kind="stable")[: memory.budget.of_all(memory.tasks[task].stop)])


@lru_cache(maxsize=1)
def _reservoir_keys(bits: int, seed: int) -> NDArray[np.uint64]:
    """Return the keys of the rows whose ids have so many bits, uint64 [2^bits]; kept, for an update after each step."""
    return raw_integers(2**bits, seed, "reservoir")


class RankedSelection(TaskByTask):
    """Rows in the order that a user's function gives.

    Args:
        name: for messages.
        rank: as `TaskByTask.rank`, but without `features` if it has no such parameter.
    """

    def __init__(self, name: str, rank: Callable[..., Any]) -> None:
        self.name = name
        self.function = rank
        self.needs_features = "features" in inspect.signature(rank).parameters

    def rank(self, labels: Floats, seed: int, task: int, count: int, features: Floats | None) -> NDArray[np.int64]:
        order = self.function(labels, seed, task, count, *([features] if self.needs_features else []))
        return _positions(order, len(labels), min(count, len(labels)), self.name)


class OwnSelection:
    """A user's class, whose choice must be positions in the memory, no more than the budget holds.

    Args:
        name: for messages.
        selection: as `Selection`.
    """

    def __init__(self, name: str, selection: Any) -> None:
        self.name = name
        self.selection = selection
        self.needs_features = bool(getattr(selection, "needs_features", False))
        if hasattr(selection, "state_dict"):
            self.state_dict = selection.state_dict
            self.load_state_dict = selection.load_state_dict
        self.takes_batches = bool(getattr(selection, "takes_batches", False))
        self.asks_network = bool(getattr(selection, "asks_network", False))

    def choose(self, memory: Memory, task: int, features: Floats | None = None) -> NDArray[np.int64]:
        chosen = _positions(self.selection.choose(memory, task, features), len(memory), 0, self.name)
        most = memory.budget.of_all(memory.tasks[task].stop)
        if len(chosen) > most:
            raise RunError(f"selection {self.name}: keeps {len(chosen)} rows, the budget holds {most}")
        return chosen


def _positions(given: Any, n: int, least: int, name: str) -> NDArray[np.int64]:
    """Return a user's positions among `n` rows, at least `least` of them, each once.

    Raises:
        RunError: they are something else.
    """
    order = np.asarray(given)
    if order.ndim != 1 or (len(order) and order.dtype.kind not in "iu"):
        what = f"{order.dtype} {list(order.shape)}"
    elif order.min(initial=0) < 0 or order.max(initial=0) >= n:
        what = f"positions from {order.min()} to {order.max()}"
    elif len(np.unique(order)) < len(order):
        what = "a position twice"
    elif len(order) < least:
        what = f"{len(order)} positions"
    else:
        return order.astype(np.int64)
    least_text = f"at least {least} " if least else ""
    raise RunError(f"selection {name}: gives {what}, expected {least_text}whole numbers, 0 to {n - 1}, each once")


def make_selection(name: str, options: Mapping[str, Any], key: str) -> Selection:
    """Return the selection of a name or `path/to/file.py:Name`.

    Args:
        options: its own.
        key: the option that names it, for messages.

    Raises:
        PartError: no such selection or options.
        RunError: it is neither a function nor has a method `choose`.
    """
    selection = made("selection", name, options, key)
    if name in KINDS["selection"].shipped:
        return cast("Selection", selection)
    if hasattr(selection, "choose"):
        return OwnSelection(name, selection)
    if not callable(selection):
        raise RunError(f"{key}: {name} is {type(selection).__name__}, expected a function or a class with `choose`")
    return RankedSelection(name, selection)
