"""Batches cover each row once an epoch, whatever the batch size, and a start in the middle is only a position."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clsim.scenario.stream.rows import MultiLabelDataset, RowStore
from clsim.sealing import Sealed
from clsim.training.batches import EpochLoader, EvaluationLoader
from clsim.training.ranks import Part, Ranks


def loader_of(n: int, size: int, more: int = 0, ranks: Ranks | None = None) -> EpochLoader:
    """A loader of rows 0..n-1, its pool enlarged by `more` rows."""
    store = RowStore(np.zeros((n, 3, 1, 1), np.uint8), np.arange(n), np.zeros((n, 2), np.int8), first_row=0)
    loader = EpochLoader(MultiLabelDataset.from_rows(store, np.arange(n)), size, seed=0, task=0, ranks=ranks)
    loader.enlarge(more)
    return loader


def batches(loader: EpochLoader, epoch: int = 0, first_step: int = 0) -> list[list[int]]:
    """Pool positions in each batch: the set's own rows, then those beyond them."""
    loader.start(epoch, first_step)
    return [[*loader.rows.tolist(), *(loader.beyond + len(loader.dataset)).tolist()] for _ in loader]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 70), st.integers(1, 20), st.integers(0, 9), st.integers(0, 3))
def test_each_row_comes_once_an_epoch(n: int, size: int, more: int, epoch: int) -> None:
    loader = loader_of(n, size, more)
    met = batches(loader, epoch)
    assert sorted(row for batch in met for row in batch) == list(range(n + more))
    assert len(met) == len(loader)
    assert all(len(batch) == size for batch in met[:-1])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 70), st.integers(1, 20), st.integers(0, 9), st.integers(1, 3))
def test_the_parts_of_a_rank_are_of_the_rows_that_it_yields(n: int, size: int, more: int, count: int) -> None:
    """Also where no row is beyond the set; together the ranks have each row of a divided batch once."""
    for steps in zip(*(_parts_and_rows(n, size, more, Ranks(rank, count)) for rank in range(count)), strict=True):
        for part, beyond, rows, others in steps:
            assert (part.stop - part.start, beyond.stop - beyond.start) == (rows, others)
        wholes = {(part.whole, beyond.whole) for part, beyond, *_ in steps}
        assert len(wholes) == 1
        (whole,) = wholes
        divided = not steps[0][0].undivided or not steps[0][1].undivided
        assert sum(whole) * (1 if divided else count) == sum(rows + others for *_, rows, others in steps)


def _parts_and_rows(n: int, size: int, more: int, ranks: Ranks) -> list[tuple[Part, Part, int, int]]:
    loader = loader_of(n, size, more, ranks)
    loader.start(0, 0)
    return [(loader.part, loader.part_beyond, len(loader.rows), len(loader.beyond)) for _ in loader]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70), st.integers(1, 20), st.integers(0, 9), st.integers(1, 3))
def test_each_rank_knows_the_new_rows_of_the_whole_batch(n: int, size: int, more: int, count: int) -> None:
    alone = _new_rows(n, size, more, Ranks())
    assert sorted(row for batch in alone for row in batch) == list(range(n))
    for rank in range(count):
        assert _new_rows(n, size, more, Ranks(rank, count)) == alone


def _new_rows(n: int, size: int, more: int, ranks: Ranks) -> list[list[int]]:
    loader = loader_of(n, size, more, ranks)
    loader.start(0, 0)
    return [loader.new_rows.tolist() for _ in loader]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 70), st.integers(1, 20), st.data())
def test_a_row_that_is_held_back_is_open_from_its_batch_on(n: int, size: int, data: Any) -> None:
    """Also where an epoch is begun in the middle."""
    loader = loader_of(n, size)
    store, everything = loader.dataset.store, np.arange(n)
    store.hold_back(everything)
    loader.start(0, data.draw(st.integers(0, len(loader))))
    come = [*np.concatenate([[], *batches(loader_of(n, size))[: loader.first_step]]).astype(int)]
    for _ in loader:
        come += loader.new_rows.tolist()
        store.targets(np.array(come))
        for row in np.setdiff1d(everything, come):
            with pytest.raises(Sealed, match=f"row {row} has not come yet"):
                store.targets(np.array([row]))
    store.targets(everything)


@pytest.mark.parametrize(
    ("n", "size", "sizes"),
    [
        (32, 16, [16, 16]),
        (33, 16, [16, 17]),
        (34, 16, [16, 16, 2]),
        (17, 16, [17]),
        (16, 16, [16]),
        (1, 16, [1]),
        (3, 1, [1, 1, 1]),
        (3, 2, [3]),
        (5, 2, [2, 3]),
    ],
)
def test_a_last_row_that_would_be_alone_joins_the_batch_before_it(n: int, size: int, sizes: list[int]) -> None:
    assert [len(batch) for batch in batches(loader_of(n, size))] == sizes


@pytest.mark.parametrize("n", [33, 40])
@pytest.mark.parametrize("first_step", [0, 1])
def test_a_start_in_the_middle_gives_the_rest_of_the_epoch(n: int, first_step: int) -> None:
    loader = loader_of(n, 16, more=3)
    assert batches(loader, 1, first_step) == batches(loader, 1)[first_step:]


def test_a_network_with_one_pixel_maps_trains_on_a_task_with_one_row_too_many(build: Any, learn: Any) -> None:
    sizes = [len(experience.dataset) for experience in build().benchmark.train_stream]
    size = next(size for size in range(3, 20) if sizes[0] % size == 1)
    overrides = {"training.model.name": "shufflenet_v2_x0_5", "training.batch_size": size, "training.epochs": 1}
    template = learn(build(overrides=overrides), tasks=1)
    assert template.samples_trained == sizes[0]


class Announced(RowStore):
    """Remembers which rows are announced and which are fetched, in turn."""

    def __init__(self, n: int) -> None:
        super().__init__(np.zeros((n, 3, 1, 1), np.uint8), np.arange(n), np.zeros((n, 2), np.int8), first_row=0)
        self.announced: list[list[int]] = []
        self.asked: list[list[int]] = []

    def stored(self, rows: Any) -> Any:
        self.asked.append(rows.tolist())
        return super().stored(rows)

    def prefetch(self, rows: Any) -> None:
        self.announced.append(rows.tolist())


@pytest.mark.parametrize(("more", "first_step"), [(0, 0), (7, 0), (0, 1)])
def test_every_batch_after_the_first_is_announced_while_the_one_before_is_used(more: int, first_step: int) -> None:
    store = Announced(33)
    loader = EpochLoader(MultiLabelDataset.from_rows(store, np.arange(33)), 8, seed=0, task=0)
    loader.enlarge(more)
    loader.start(0, first_step)
    for step, _ in enumerate(loader, start=1):
        assert (len(store.asked), len(store.announced)) == (step, step)
    assert store.announced == [*store.asked[1:], []]


def test_evaluation_announces_too() -> None:
    store = Announced(20)
    list(EvaluationLoader(MultiLabelDataset.from_rows(store, np.arange(20)), 8))
    assert [len(rows) for rows in store.asked] == [8, 8, 4]
    assert store.announced == [*store.asked[1:], []]
