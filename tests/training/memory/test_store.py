"""Which rows a memory keeps, with which labels, and which it hands out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clsim.errors import StrategyError
from clsim.scenario.plan.task_classes import TaskClasses
from clsim.training.memory.selection import OwnSelection, RandomSelection, ReservoirSelection
from clsim.training.memory.store import GIVEN, Budget, Memory
from clsim.vocabulary import UNKNOWN

TASKS = tuple(TaskClasses(*task) for task in ((0, 2), (2, 4), (4, 7)))


def task_labels(task: int, n: int, seed: int = 0) -> NDArray[np.float32]:
    """Labels of a task's rows as the stream shows them: only the task's own columns are known."""
    start, stop, _ = TASKS[task]
    labels = np.full((n, TASKS[-1][1]), -1, dtype=np.float32)
    labels[:, start:stop] = np.random.default_rng(seed + task).integers(0, 2, (n, stop - start))
    return labels


def filled(budget: Budget, tasks: int = 3, n: int = 20, selection: Any = None, seed: int = 0) -> Memory:
    """A memory after `tasks` tasks of n rows; row ids of task t are 100 t, 100 t + 1, ..."""
    memory = Memory(budget, selection or RandomSelection(), TASKS, seed)
    for task in range(tasks):
        memory.update(task, 100 * task + np.arange(n), task_labels(task, n))
    return memory


def groups(memory: Memory) -> list[int]:
    return np.bincount(memory.stored_by, minlength=3).tolist()


# --- budget


def test_per_class_keeps_as_many_rows_for_each_class_of_a_task_and_never_shrinks() -> None:
    assert [groups(filled(Budget(per_class=3), tasks)) for tasks in (1, 2, 3)] == [[6, 0, 0], [6, 6, 0], [6, 6, 9]]


def test_a_total_is_shared_by_seen_classes_with_the_rest_to_the_first_ones() -> None:
    # 10 rows: 2 classes 5 + 5; 4 classes 3 + 3, 2 + 2; 7 classes 2 + 2, 2 + 1, 1 + 1 + 1
    assert [groups(filled(Budget(total=10), tasks)) for tasks in (1, 2, 3)] == [[10, 0, 0], [6, 4, 0], [4, 3, 3]]


@given(st.integers(7, 300))
def test_a_total_is_spent_to_the_last_row(total: int) -> None:
    for tasks in (1, 2, 3):
        assert sum(Budget(total=total).of_tasks(TASKS[:tasks])) == total


def test_a_class_that_comes_back_has_its_rows_divided_among_its_tasks() -> None:
    """6 rows a class: of class 0 two for each of three tasks, of class 2 three for each of two."""
    tasks = (TaskClasses(0, 2), TaskClasses(2, 4, (0,)), TaskClasses(4, 4, (0, 2)))
    assert Budget(per_class=6).of_tasks(tasks) == [2 + 6, 2 + 3 + 6, 2 + 3]
    assert Budget(per_class=6).of_tasks(tasks[:2]) == [3 + 6, 3 + 6 + 6]
    assert sum(Budget(total=24).of_tasks(tasks)) == 24


@given(st.integers(7, 300))
def test_the_share_of_a_task_never_grows(total: int) -> None:
    shares = [Budget(total=total).of_tasks(TASKS[:tasks])[0] for tasks in (1, 2, 3)]
    assert shares == sorted(shares, reverse=True)


def test_a_total_below_one_row_a_class_is_refused_and_named() -> None:
    Budget(total=7).check(7)
    with pytest.raises(StrategyError, match=r"memory\.budget\.total: given 6, must be at least 7"):
        Budget(total=6).check(7)


def test_a_task_with_fewer_rows_than_its_share_is_stored_whole() -> None:
    assert sorted(filled(Budget(per_class=50), tasks=1, n=5).rows) == [0, 1, 2, 3, 4]


def test_a_shrinking_group_keeps_the_rows_it_prefers() -> None:
    before, after = filled(Budget(total=10), tasks=2), filled(Budget(total=10), tasks=3)
    for task in (0, 1):
        kept = after.rows[after.stored_by == task]
        assert kept.tolist() == before.rows[before.stored_by == task][: len(kept)].tolist()


# --- labels and provenance


def test_labels_are_stored_as_seen_and_unknown_stays_unknown() -> None:
    memory = filled(Budget(per_class=3))
    for row, labels, task in zip(memory.rows, memory.labels, memory.stored_by, strict=True):
        assert labels.tolist() == task_labels(int(task), 20)[row - 100 * task].tolist()


def test_every_label_is_given_or_unknown_and_says_so() -> None:
    memory = filled(Budget(per_class=3))
    assert np.array_equal(memory.provenance, np.where(memory.labels == -1, UNKNOWN, GIVEN))


def test_the_labels_given_are_copied() -> None:
    labels = task_labels(0, 4)
    memory = Memory(Budget(per_class=2), RandomSelection(), TASKS, 0)
    memory.update(0, np.arange(4), labels)
    memory.labels[:] = 0.5
    assert np.array_equal(labels, task_labels(0, 4))


def test_a_relabelled_entry_can_be_relabelled_again_and_a_given_one_never() -> None:
    memory = filled(Budget(per_class=3), tasks=1)
    given, which, columns = memory.labels[:, :2].copy(), np.arange(len(memory)), np.arange(4)
    for task, label in ((1, 0.25), (2, 0.75)):
        memory.relabel(which, columns, np.full((len(memory), 4), label, dtype=np.float32), task)
        np.testing.assert_array_equal(memory.labels[:, :2], given)
        assert (memory.provenance[:, :2] == GIVEN).all()
        assert (memory.labels[:, 2:4] == label).all()
        assert (memory.provenance[:, 2:4] == task + 1).all()
    memory.relabel(which, columns, np.full((len(memory), 4), UNKNOWN, dtype=np.float32), 3)
    assert (memory.labels[:, 2:4] == UNKNOWN).all()
    assert (memory.provenance[:, 2:4] == UNKNOWN).all()
    assert (memory.labels[:, 4:] == UNKNOWN).all()


# --- drawing


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(0, 50))
def test_a_draw_repeats_no_row_before_every_row_was_drawn(n: int, step: int) -> None:
    memory = filled(Budget(per_class=3), tasks=1)
    drawn = memory.draw(n, 1, 0, step)
    assert len(drawn) == n
    for start in range(0, n, len(memory)):
        part = drawn[start : start + len(memory)]
        assert len(set(part.tolist())) == len(part)
        assert set(part.tolist()) <= set(range(len(memory)))


def test_a_draw_depends_on_seed_and_position_alone() -> None:
    memory = filled(Budget(per_class=3))
    drawn = memory.draw(10, 1, 2, 3).tolist()
    memory.draw(4, 0, 0, 0)
    assert memory.draw(10, 1, 2, 3).tolist() == drawn
    assert memory.draw(10, 1, 2, 4).tolist() != drawn
    assert filled(Budget(per_class=3), seed=1).draw(10, 1, 2, 3).tolist() != drawn


def test_draws_made_ahead_are_those_of_each_step_alone() -> None:
    memory = filled(Budget(per_class=3), tasks=1)
    places = [(16, 1, 0, step) for step in range(400)] + [(5, 1, 0, 400), (16, 1, 1, 0), (16, 2, 0, 1)]
    for n, *place in places:
        assert memory.draw(n, *place).tolist() == filled(Budget(per_class=3), tasks=1).draw(n, *place).tolist()
    grown = filled(Budget(per_class=3), tasks=2)
    memory.load_state_dict(grown.state_dict())
    assert memory.draw(16, 2, 0, 1).tolist() == grown.draw(16, 2, 0, 1).tolist()


def test_an_empty_memory_gives_nothing() -> None:
    assert filled(Budget(per_class=3), tasks=0).draw(5, 0, 0, 0).tolist() == []


# --- size and state


def test_bytes_count_images_labels_provenance_and_ids() -> None:
    memory = filled(Budget(per_class=1), tasks=1)
    assert memory.nbytes(image_bytes=300) == 2 * (300 + 8 + 4 * 7 + 2 * 7 + 8)


def test_a_memory_continues_from_its_state_in_a_file(through_file: Any) -> None:
    memory, other = filled(Budget(total=10), tasks=2), filled(Budget(total=10), tasks=0)
    other.load_state_dict(through_file(memory.state_dict()))
    for one in (memory, other):
        one.update(2, 200 + np.arange(20), task_labels(2, 20))
    for name in ("rows", "labels", "provenance", "stored_by"):
        mine, theirs = getattr(memory, name), getattr(other, name)
        assert mine.dtype == theirs.dtype
        assert np.array_equal(mine, theirs)


def with_payload() -> Memory:
    """Six rows of task 0, beside each of which stands its row id; the third is left out."""
    memory = filled(Budget(total=10), tasks=0, selection=ReservoirSelection())
    memory.keep_beside("ids", np.empty(2, np.float32))
    memory.update(0, np.arange(6), task_labels(0, 6))
    memory.keep_beside("ids", np.empty(2, np.float32))[:] = memory.rows[:, None]
    memory.left_out = memory.rows == 3
    return memory


def test_what_stands_beside_a_row_follows_it_and_is_unwritten_for_new_ones(through_file: Any) -> None:
    memory, other = with_payload(), filled(Budget(total=10), tasks=0, selection=ReservoirSelection())
    other.load_state_dict(through_file(memory.state_dict()))
    for one in (memory, other):
        one.update(1, 100 + np.arange(10), task_labels(1, 10))
        ids, old = one.payload["ids"], one.rows < 100
        assert 0 < old.sum() < 6
        assert np.array_equal(ids[old, 1], one.rows[old])
        assert np.isnan(ids[~old]).all()
        assert one.left_out.tolist() == (one.rows == 3).tolist()
    assert memory.rows.tolist() == other.rows.tolist()


def test_what_stands_beside_the_rows_counts_in_their_bytes() -> None:
    memory = with_payload()
    assert memory.nbytes(300) == 6 * (300 + 8 + 6 * 7 + 8) + 6 * 2 * 4


def test_rows_that_are_left_out_are_never_drawn() -> None:
    memory = with_payload()
    drawn = np.concatenate([memory.draw(5, 0, 0, step) for step in range(20)])
    assert set(memory.rows[drawn].tolist()) == {0, 1, 2, 4, 5}
    memory.left_out[:] = True
    assert memory.draw(5, 0, 0, 0).tolist() == []


class Counting(ReservoirSelection):
    """Counts what it is offered, and by how many calls."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def choose(self, memory: Memory, task: int, features: Any = None) -> NDArray[np.int64]:
        self.seen.append(memory.offered)
        return super().choose(memory, task)

    def state_dict(self) -> dict[str, Any]:
        return {"seen": list(self.seen)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seen = list(state["seen"])


def test_the_state_of_a_selection_is_saved_with_the_memory(through_file: Any) -> None:
    memory = filled(Budget(total=10), tasks=2, selection=Counting())
    other = filled(Budget(total=10), tasks=0, selection=OwnSelection("own", Counting()))
    other.load_state_dict(through_file(memory.state_dict()))
    other.update(2, 200 + np.arange(3), task_labels(2, 3), whole=False)
    assert other.state_dict()["selection"] == {"seen": [20, 20, 3]}


def test_a_memory_of_rows_alone_has_the_state_that_it_always_had() -> None:
    assert set(filled(Budget(total=10)).state_dict()) == {"rows", "labels", "provenance", "stored_by"}


def test_a_state_is_a_copy() -> None:
    memory = filled(Budget(per_class=1))
    state = memory.state_dict()
    before = state["labels"].clone()
    memory.labels[:] = 0.5
    assert torch.equal(state["labels"], before)


def test_what_a_state_was_loaded_into_is_a_copy() -> None:
    memory = filled(Budget(per_class=1))
    state = memory.state_dict()
    before = state["labels"].clone()
    memory.load_state_dict(state)
    memory.labels[:] = 0.5
    assert torch.equal(state["labels"], before)
