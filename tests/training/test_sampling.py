"""Re-sampled epochs: as long as shuffled ones, as balanced as their rule says, and derived, so that a run resumes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clsim.parts import KINDS, find
from clsim.randomness import permutation
from clsim.scenario.stream.rows import MultiLabelDataset, RowStore
from clsim.training.batches import EpochLoader
from clsim.training.sampling import class_aware, inverse_frequency, membership

SAMPLERS = {name: find("sampler", name) for name in KINDS["sampler"].shipped if name != "shuffled"}

LONG_TAIL = np.repeat(np.eye(3), [80, 15, 5], axis=0)
"""Single-label rows: 80, 15 and 5 of three classes."""


def loader_of(targets: NDArray[Any], size: int, sampler: str, more: int = 0, task: int = 0) -> EpochLoader:
    n = len(targets)
    store = RowStore(np.zeros((n, 3, 1, 1), np.uint8), np.arange(n), targets.astype(np.int8), first_row=0)
    loader = EpochLoader(MultiLabelDataset.from_rows(store, np.arange(n)), size, 0, task, sampler)
    loader.enlarge(more)
    return loader


def batches(loader: EpochLoader, epoch: int = 0, first_step: int = 0) -> list[list[int]]:
    """Pool positions in each batch: the set's own rows, then those beyond them."""
    loader.start(epoch, first_step)
    return [[*batch[2].tolist(), *(loader.beyond + len(loader.dataset)).tolist()] for batch in loader]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 20), st.integers(0, 9), st.sampled_from(sorted(SAMPLERS)))
def test_an_epoch_has_as_many_rows_and_batches_as_a_shuffled_one(n: int, size: int, more: int, sampler: str) -> None:
    targets = np.random.default_rng(n).integers(-1, 2, (n, 4))
    met, shuffled = (batches(loader_of(targets, size, name, more)) for name in (sampler, "shuffled"))
    assert [len(batch) for batch in met] == [len(batch) for batch in shuffled]
    rows = np.array([row for batch in met for row in batch])
    assert rows.max() < n + more
    assert sorted(rows[rows >= n]) == list(range(n, n + more)), "rows of a memory come once each"


def test_class_aware_draws_every_class_equally_often() -> None:
    rows = class_aware(membership(LONG_TAIL), 0, 1, 2)
    assert sorted(LONG_TAIL[rows].sum(axis=0).tolist()) == [33, 33, 34]


def test_class_aware_goes_through_all_rows_of_a_class_before_one_comes_again() -> None:
    rows = class_aware(membership(LONG_TAIL), 3, 0, 0)
    drawn = rows[rows >= 95].tolist()
    assert {len(set(drawn[start : start + 5])) for start in range(0, 30, 5)} == {5}
    assert len(set(rows[rows < 80])) == (rows < 80).sum()


def test_inverse_frequency_draws_rows_by_their_rarest_class() -> None:
    targets = np.array([[1, 0], [1, 1], *[[1, 0]] * 8])
    rows = np.concatenate([inverse_frequency(membership(targets), 0, 0, epoch) for epoch in range(400)])
    share = np.bincount(rows, minlength=10) / len(rows)
    expected = np.array([0.1, 1.0, *[0.1] * 8]) / 1.9
    np.testing.assert_allclose(share, expected, atol=0.02)


@pytest.mark.parametrize("rule", SAMPLERS.values())
def test_rows_without_a_positive_stand_for_one_more_class(rule: Any) -> None:
    targets = np.array([[1, 0]] * 40 + [[0, -1]] * 10)
    member = membership(targets)
    assert member.sum(axis=0).tolist() == [40, 10]
    rows = np.concatenate([rule(member, 0, 0, epoch) for epoch in range(40)])
    assert (rows >= 40).mean() == pytest.approx(0.5, abs=0.05)


def test_unknown_and_soft_labels_are_no_positives() -> None:
    assert membership(np.array([[1, -1], [0.9, -1]], dtype=np.float32)).tolist() == [[True, False], [False, True]]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_epochs_tasks_and_starts_in_the_middle(sampler: str) -> None:
    loader = loader_of(LONG_TAIL, 16, sampler, more=3)
    first, second = batches(loader, 0), batches(loader, 1)
    assert first != second
    assert batches(loader_of(LONG_TAIL, 16, sampler, more=3, task=1), 0) != first
    assert batches(loader, 1, first_step=4) == second[4:]


def test_shuffled_is_what_it_was_without_the_key() -> None:
    loader = loader_of(LONG_TAIL, 100, "shuffled")
    assert batches(loader) == [permutation(100, 0, "order", 0, 0).tolist()]


def test_a_run_resumes_to_the_same_weights(build: Any, learn: Any, same_weights: Any, through_file: Any) -> None:
    overrides = {"training.sampler": "class-aware", "dataset.train": 40, "stream.base": 8}
    states = []

    class Stop:
        def after_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
            if (strategy.position.task, strategy.position.epoch, strategy.position.step) == (1, 0, 1) and not states:
                states.append(through_file(strategy.state_dict()))

        def state_dict(self) -> dict[str, Any]:
            return {}

        def load_state_dict(self, state: Any) -> None:
            """Nothing to load."""

    whole = learn(build("er", overrides=overrides, last=[Stop()]))
    resumed = build("er", overrides=overrides, last=[Stop()])
    resumed.load_state_dict(states[0])
    assert same_weights(learn(resumed), whole)
    shuffled = {**overrides, "training.sampler": "shuffled"}
    assert not same_weights(learn(build("er", overrides=shuffled)), whole)
