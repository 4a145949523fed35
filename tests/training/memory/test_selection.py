"""Which rows each policy keeps: preferences task by task, or a uniform sample of everything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import chi2

from clsim.parts import KINDS, find
from clsim.randomness import raw_integers
from clsim.scenario.plan.task_classes import TaskClasses
from clsim.training.memory.selection import ClassBalancedSelection, OwnSelection, RandomSelection
from clsim.training.memory.store import Budget, Memory

TASKS = tuple(TaskClasses(*task) for task in ((0, 2), (2, 4), (4, 7)))
SELECTIONS = {name: find("selection", name) for name in KINDS["selection"].shipped}
RANKING = {name: kind for name, kind in SELECTIONS.items() if hasattr(kind, "rank")}
RANDOM = sorted(set(SELECTIONS) - {"herding"})  # test_selection_herding.py
TOTAL, PER_CLASS = Budget(total=12), Budget(per_class=3)


def labels_of(task: int, n: int) -> NDArray[np.float32]:
    """Random labels of a task's own columns, all others unknown."""
    start, stop, _ = TASKS[task]
    labels = np.full((n, TASKS[-1][1]), -1, dtype=np.float32)
    labels[:, start:stop] = np.random.default_rng(task).integers(0, 2, (n, stop - start))
    return labels


def features_of(task: int, n: int) -> NDArray[np.float32]:
    return np.random.default_rng(100 + task).normal(size=(n, 5)).astype(np.float32)


class Network:
    """What a network says of rows by their positions; stands in for a `NetworkView`."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    def features(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        rows = self.memory.rows[positions]
        return np.array([features_of(row // 1000, 40)[row % 1000] for row in rows])

    def augmented_logits(self, positions: NDArray[np.int64], passes: int) -> Iterator[NDArray[np.float32]]:
        for number in range(passes):
            yield np.random.default_rng(number).normal(size=(len(positions), 7)).astype(np.float32)

    def head_gradients(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        features = self.features(positions)
        return features[:, :2] - 0.5, features


def view_of(memory: Memory) -> Any:
    return Network(memory)


def kept_after(name: str, budget: Budget, sizes: tuple[int, ...], seed: int = 0) -> list[list[int]]:
    """Row ids in memory after each task of `sizes` rows; task t has the ids 1000 t, 1000 t + 1, ..."""
    memory = Memory(budget, SELECTIONS[name](), TASKS, seed)
    kept = []
    for task, size in enumerate(sizes):
        view: Any = Network(memory)
        memory.update(task, 1000 * task + np.arange(size), labels_of(task, size), features_of(task, size), view)
        kept.append(memory.rows.tolist())
    return kept


# --- every policy


@pytest.mark.parametrize("name", sorted(SELECTIONS))
@pytest.mark.parametrize(
    ("budget", "sizes"),
    [(PER_CLASS, [6, 12, 21]), (TOTAL, [12, 12, 12]), (Budget(per_class=50), [30, 60, 90])],
    ids=["per_class", "total", "roomy"],
)
def test_a_memory_fills_its_budget_and_no_more(name: str, budget: Budget, sizes: list[int]) -> None:
    assert [len(rows) for rows in kept_after(name, budget, (30, 30, 30))] == sizes


@pytest.mark.parametrize("name", sorted(SELECTIONS))
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99), st.tuples(*[st.integers(0, 40)] * 3), st.sampled_from([TOTAL, PER_CLASS]))
def test_what_is_kept_was_there_before_or_is_new(name: str, seed: int, sizes: Any, budget: Budget) -> None:
    before: list[int] = []
    for task, rows in enumerate(kept_after(name, budget, sizes, seed)):
        assert len(set(rows)) == len(rows)
        assert set(rows) <= set(before) | set(range(1000 * task, 1000 * task + sizes[task]))
        before = rows


@pytest.mark.parametrize("name", RANDOM)
@pytest.mark.parametrize("budget", [TOTAL, PER_CLASS], ids=["total", "per_class"])
def test_what_is_kept_depends_on_the_seed_alone(name: str, budget: Budget) -> None:
    kept = kept_after(name, budget, (30, 30, 30))
    np.random.seed(5)  # noqa: NPY002  the global generator must not matter
    assert kept_after(name, budget, (30, 30, 30)) == kept
    assert kept_after(name, budget, (30, 30, 30), seed=1) != kept


@pytest.mark.parametrize("name", sorted(SELECTIONS))
def test_a_row_keeps_its_labels_and_its_task(name: str) -> None:
    memory = Memory(TOTAL, SELECTIONS[name](), TASKS, 0)
    for task in range(3):
        view: Any = Network(memory)
        memory.update(task, 1000 * task + np.arange(30), labels_of(task, 30), features_of(task, 30), view)
    assert memory.stored_by.tolist() == (memory.rows // 1000).tolist()
    for row, labels in zip(memory.rows, memory.labels, strict=True):
        assert labels.tolist() == labels_of(row // 1000, 30)[row % 1000].tolist()


def in_portions(name: str, budget: Budget, size: int, seed: int, rows: int = 40) -> Memory:
    """A memory after tasks of `rows` rows that came in portions of `size`, in random order."""
    memory = Memory(budget, SELECTIONS[name](), TASKS, seed)
    for task in range(3):
        labels, order = labels_of(task, rows), np.random.default_rng(seed).permutation(rows)
        for start in range(0, rows, size):
            part = order[start : start + size]
            view: Any = Network(memory)
            memory.update(task, 1000 * task + part, labels[part], features_of(task, rows)[part], view, whole=False)
    return memory


@pytest.mark.parametrize("name", sorted(SELECTIONS))
@pytest.mark.parametrize("size", [1, 7])
def test_of_rows_in_portions_as_many_are_kept(name: str, size: int) -> None:
    for budget, count in ((PER_CLASS, 21), (TOTAL, 12)):
        memory = in_portions(name, budget, size, 0)
        assert len(memory) == len(set(memory.rows.tolist())) == count


@pytest.mark.parametrize("name", sorted({"random", "reservoir"}))
def test_of_rows_in_portions_an_early_one_is_kept_as_often_as_a_late_one(name: str) -> None:
    counts, seeds = np.zeros(40), 250
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(40)
        memory = Memory(PER_CLASS, SELECTIONS[name](), TASKS, seed)
        for start in range(0, 40, 7):
            part = order[start : start + 7]
            memory.update(0, part, labels_of(0, 40)[part], whole=False)
        counts += np.isin(order, memory.rows)  # by place in the stream
    rate, spread = 6 / 40, (6 / 40 * 34 / 40 / seeds) ** 0.5
    assert np.abs(counts / seeds - rate).max() < 4 * spread


@pytest.mark.parametrize("name", sorted(n for n, kind in SELECTIONS.items() if hasattr(kind, "state_dict")))
def test_a_policy_with_a_state_goes_on_from_it_in_a_file(name: str, through_file: Any) -> None:
    memory, other = (Memory(TOTAL, OwnSelection("own", SELECTIONS[name]()), TASKS, 0) for _ in range(2))
    for task in range(2):
        memory.update(task, 1000 * task + np.arange(30), labels_of(task, 30), view=view_of(memory))
    other.load_state_dict(through_file(memory.state_dict()))
    for one in (memory, other):
        for start in range(0, 30, 6):
            part = np.arange(start, start + 6)
            one.update(2, 2000 + part, labels_of(2, 30)[part], view=view_of(one), whole=False)
    assert other.rows.tolist() == memory.rows.tolist()
    assert repr(other.state_dict()["selection"]) == repr(memory.state_dict()["selection"])
    assert repr(other.state_dict()["selection"]) != repr(SELECTIONS[name]().state_dict())


# --- policies that rank the rows of a task


@pytest.mark.parametrize("name", sorted(RANKING))
@settings(max_examples=50, deadline=None)
@given(st.integers(1, 30), st.integers(1, 4), st.integers(0, 99))
def test_a_ranking_holds_each_row_exactly_once(name: str, n: int, classes: int, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(-1, 2, (n, classes)).astype(np.float32)
    assert sorted(RANKING[name]().rank(labels, seed, 0, n, features_of(0, n))) == list(range(n))


@pytest.mark.parametrize("name", sorted(set(RANKING) & set(RANDOM)))
def test_a_ranking_depends_on_seed_and_task_alone(name: str) -> None:
    labels, selection = labels_of(0, 40)[:, :2], RANKING[name]()
    order = selection.rank(labels, 0, 0, 40, None).tolist()
    assert selection.rank(labels, 0, 0, 40, None).tolist() == order
    assert selection.rank(labels, 1, 0, 40, None).tolist() != order
    assert selection.rank(labels, 0, 1, 40, None).tolist() != order


@pytest.mark.parametrize("name", sorted(RANKING))
def test_a_task_keeps_the_rows_its_ranking_prefers(name: str) -> None:
    labels = labels_of(0, 30)
    (kept,) = kept_after(name, PER_CLASS, (30,))
    assert kept == RANKING[name]().rank(labels[:, :2], 0, 0, 6, features_of(0, 30))[:6].tolist()


def test_random_selection_keeps_each_row_equally_often() -> None:
    counts = np.zeros(30)
    for seed in range(600):
        counts[RandomSelection().rank(np.zeros((30, 2), dtype=np.float32), seed, 0, 6, None)[:6]] += 1
    assert np.abs(counts / 600 - 6 / 30).max() < 5 * (0.2 * 0.8 / 600) ** 0.5


@settings(deadline=None)
@given(st.integers(0, 99))
def test_class_balanced_prefixes_are_balanced_while_every_class_has_rows(seed: int) -> None:
    labels = np.eye(3, dtype=np.float32)[np.repeat([0, 1, 2], [30, 10, 5])]
    order = ClassBalancedSelection().rank(labels, seed, 0, 45, None)
    for length in range(1, 16):
        counts = labels[order[:length]].sum(axis=0)
        assert counts.max() - counts.min() <= 1


def test_class_balanced_takes_the_class_with_the_fewest_positives_first() -> None:
    labels = np.eye(3, dtype=np.float32)[np.repeat([0, 1, 2], [30, 5, 10])]
    order = ClassBalancedSelection().rank(labels, 0, 0, 15, None)
    assert labels[order[:6]].argmax(axis=1).tolist() == [1, 2, 0, 1, 2, 0]


def test_class_balanced_leaves_rows_without_a_positive_to_the_end() -> None:
    labels = np.zeros((10, 2), dtype=np.float32)
    labels[[3, 7], 0] = 1
    labels[:, 1] = -1
    assert set(ClassBalancedSelection().rank(labels, 0, 0, 10, None)[:2]) == {3, 7}


# --- reservoir


def inclusion(budget: Budget, sizes: tuple[int, ...], seeds: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How often each row is in the last memory, by task: mean over its rows, and the largest deviation of one row."""
    counts = [np.zeros(size) for size in sizes]
    for seed in range(seeds):
        for row in kept_after("reservoir", budget, sizes, seed)[-1]:
            counts[row // 1000][row % 1000] += 1
    rates = [count / seeds for count in counts]
    expected = budget.of_all(TASKS[len(sizes) - 1][1]) / sum(sizes)
    return np.array([rate.mean() for rate in rates]), np.array([abs(rate - expected).max() for rate in rates])


def test_reservoir_under_a_total_is_uniform_over_all_rows_of_all_tasks() -> None:
    seeds, sizes = 800, (20, 50, 30)
    by_task, worst = inclusion(TOTAL, sizes, seeds)
    rate = 12 / 100
    spread = (rate * (1 - rate) / seeds) ** 0.5  # of one row; a task's mean varies less than one row / sqrt(n) does
    assert np.abs(by_task - rate).max() < 4 * spread / min(sizes) ** 0.5
    assert worst.max() < 4.5 * spread


def test_reservoir_that_grows_with_the_classes_lacks_the_rows_a_smaller_memory_dropped() -> None:
    by_task, _ = inclusion(PER_CLASS, (30, 30, 30), 400)
    assert by_task[0] < by_task[1] < by_task[2]
    assert by_task[0] > 0.5 * by_task[2]
    assert by_task.mean() == pytest.approx(21 / 90)


def test_reservoir_pays_no_heed_to_labels() -> None:
    sizes = (30, 30, 30)
    memory = Memory(TOTAL, SELECTIONS["reservoir"](), TASKS, 0)
    for task, size in enumerate(sizes):
        memory.update(task, 1000 * task + np.arange(size), np.ones((size, 7), dtype=np.float32))
    assert memory.rows.tolist() == kept_after("reservoir", TOTAL, sizes)[-1]


def test_reservoir_of_one_task_is_not_just_its_first_rows() -> None:
    assert len({tuple(kept_after("reservoir", TOTAL, (40,), seed)[0]) for seed in range(20)}) == 20


def streamed(sizes: tuple[int, ...], batch: int, seed: int, order: int = 0) -> list[int]:
    """Row ids that reservoir keeps of tasks that come in shuffled batches, as an online stream offers them."""
    memory = Memory(TOTAL, SELECTIONS["reservoir"](), TASKS, seed)
    for task, size in enumerate(sizes):
        ids = 1000 * task + np.random.default_rng(order).permutation(size)
        for first in range(0, size, batch):
            rows = ids[first : first + batch]
            memory.update(task, rows, labels_of(task, size)[rows - 1000 * task])
            assert len(memory) <= 12
    return sorted(memory.rows.tolist())


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 45), st.integers(0, 2**32), st.integers(0, 99))
def test_reservoir_keeps_of_batches_what_it_keeps_of_whole_tasks(batch: int, seed: int, order: int) -> None:
    sizes = (20, 45, 30)
    assert streamed(sizes, batch, seed, order) == sorted(kept_after("reservoir", TOTAL, sizes, seed)[-1])


def test_reservoir_keeps_these_rows_of_a_worked_stream() -> None:
    """The twelve smallest keys of the rows that came; key r is the r-th raw integer of the purpose "reservoir"."""
    rows = np.concatenate([np.arange(20), 1000 + np.arange(45), 2000 + np.arange(30)])
    keys = raw_integers(2030, 5, "reservoir")[rows]
    assert streamed((20, 45, 30), 10, seed=5) == sorted(rows[np.argsort(keys)[:12]].tolist())
    assert streamed((20, 45, 30), 10, seed=5) == [
        *(5, 18),
        *(1000, 1007, 1008, 1013, 1023, 1027, 1030, 1037),
        *(2007, 2010),
    ]


def test_reservoir_of_an_online_stream_keeps_each_row_equally_often() -> None:
    """Pearson's statistic is chi-squared times (n - m) / (n - 1) for m of n rows without replacement."""
    sizes, seeds = (20, 45, 30), 400
    count = np.zeros(sum(sizes))
    for seed in range(seeds):
        kept = np.array(streamed(sizes, 10, seed))
        count[kept % 1000 + np.array([0, 20, 65])[kept // 1000]] += 1
    n, expected = len(count), seeds * 12 / len(count)
    statistic = ((count - expected) ** 2 / expected).sum() * (n - 1) / (n - 12)
    assert count.sum() == 12 * seeds
    assert chi2.ppf(0.0005, n - 1) < statistic < chi2.ppf(0.9995, n - 1)
