"""A share of the images for testing: of every class, the same on every machine, for any seed."""

from __future__ import annotations

import numpy as np
import pytest

from clsim.data.held_out import ShareOfTraining, split_rows
from clsim.errors import Unplannable


def labels(n: int = 400, seed: int = 0) -> np.ndarray:
    """Labels of falling frequency, some images without one."""
    return (np.random.default_rng(seed).random((n, 6)) < [0.5, 0.3, 0.1, 0.05, 0.02, 0.01]).astype(np.int8)


def test_every_image_is_on_one_side_and_the_share_is_kept() -> None:
    train, test = split_rows(labels(), ShareOfTraining(share=0.25))
    assert sorted([*train, *test]) == list(range(400))
    assert abs(len(test) - 100) <= 7
    assert (train.dtype, test.dtype) == (np.int64, np.int64)
    assert (np.diff(train) > 0).all()
    assert (np.diff(test) > 0).all()


def test_a_class_of_two_images_has_one_on_either_side_and_a_single_one_is_trained_on() -> None:
    present = np.zeros((50, 3), dtype=np.int8)
    present[:, 0] = 1
    present[[3, 17], 1] = 1
    present[29, 2] = 1
    for seed in range(20):
        train, test = split_rows(present, ShareOfTraining(share=0.1, seed=seed))
        assert present[train].sum(axis=0)[1:].tolist() == [1, 1]
        assert present[test].sum(axis=0)[1:].tolist() == [1, 0]


def test_the_choice_is_the_same_everywhere_and_another_for_another_seed() -> None:
    _, test = split_rows(labels(30), ShareOfTraining(share=0.2))
    assert test.tolist() == [0, 8, 9, 14, 15, 17, 19]
    _, other = split_rows(labels(30), ShareOfTraining(share=0.2, seed=1))
    assert test.tolist() != other.tolist()


def test_unknown_labels_are_no_positives() -> None:
    train, test = split_rows(np.full((10, 2), -1, dtype=np.int8), ShareOfTraining(share=0.3))
    assert (len(train), len(test)) == (7, 3)


def test_a_share_of_nothing_is_refused() -> None:
    with pytest.raises(Unplannable, match=r"given a share of 0\.5, which takes 0 of 1 images"):
        split_rows(np.ones((1, 1), dtype=np.int8), ShareOfTraining(share=0.5))
