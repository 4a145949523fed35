"""Batches of normalised images: the same whatever memory they lie in, and memory of their own."""

from __future__ import annotations

import mmap
from collections import deque

import numpy as np
import pytest
import torch

from clsim.scenario.stream import batch_memory, normalisation
from clsim.scenario.stream.batch_memory import empty_batch
from clsim.scenario.stream.normalisation import Normalisation
from clsim.scenario.stream.rows import RowStore


def store(n: int = 5) -> RowStore:
    pixels = np.random.default_rng(1).integers(0, 256, (n, 3, 16, 16), dtype=np.uint8)
    return RowStore(pixels, np.arange(n), np.zeros((n, 1), np.int8), first_row=0)


@pytest.fixture
def huge(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every batch is one that gets huge pages, where there are; none has left its memory yet."""
    monkeypatch.setattr(batch_memory, "HUGE_PAGES", 1)
    monkeypatch.setattr(batch_memory, "_spare", deque(maxlen=2))


def test_images_are_the_same_in_huge_pages_and_in_any_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.arange(5)
    expected = store().images(rows)
    for pages, size in [(1, 10**6), (10**9, 1), (1, 2 * 4 * 3 * 16 * 16)]:
        monkeypatch.setattr(batch_memory, "HUGE_PAGES", pages)
        monkeypatch.setattr(normalisation, "SLICE_BYTES", size)
        assert torch.equal(store().images(rows), expected)


def test_a_batch_that_is_kept_does_not_change_with_the_next(huge: None) -> None:
    first = store().images(np.arange(3))
    kept = first.clone()
    second = store().images(np.arange(3)[::-1].copy())
    second.fill_(7)
    assert torch.equal(first, kept)


@pytest.mark.parametrize("lacking", ["MADV_HUGEPAGE", "madvise"])
def test_a_system_without_huge_pages_has_batches_all_the_same(
    huge: None, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    class Refusing(mmap.mmap):
        def madvise(self, *arguments: int) -> None:
            raise OSError("not supported")

    if lacking == "madvise":
        monkeypatch.setattr(mmap, "mmap", Refusing)
    else:
        monkeypatch.delattr(mmap, lacking, raising=False)
    batch = empty_batch((2, 3, 4, 4)).fill_(3)
    assert (batch.shape, batch.dtype) == ((2, 3, 4, 4), torch.float32)
    assert batch.sum() == 288


def test_memory_of_a_batch_that_nobody_keeps_is_used_again_and_no_other(huge: None) -> None:
    shape = (2, 3, 4, 4)
    kept = empty_batch(shape).fill_(1)
    part = empty_batch(shape).fill_(2)[1, :, 2:]
    passing = empty_batch(shape)
    where = passing.data_ptr()
    del passing
    again = empty_batch(shape).fill_(3)
    assert again.data_ptr() == where
    others = [empty_batch(shape).fill_(4) for _ in range(5)]
    assert len({batch.data_ptr() for batch in [kept, again, *others]}) == 7
    assert [float(batch.max()) for batch in (kept, part, again)] == [1, 2, 3]


def test_memory_of_another_size_is_not_used(huge: None) -> None:
    del_me = empty_batch((2, 3, 4, 4))
    del del_me
    assert empty_batch((2, 3, 8, 8)).fill_(1).shape == (2, 3, 8, 8)


def test_there_are_8_bit_values_between_a_normalisation_and_its_end() -> None:
    values = torch.arange(192, dtype=torch.uint8).view(1, 3, 8, 8)
    look = Normalisation([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    assert torch.equal(look.undo_(look.of_bytes(values)), values.float())


def test_an_empty_batch_is_one_too() -> None:
    assert store().images(np.empty(0, dtype=np.int64)).shape == (0, 3, 16, 16)
