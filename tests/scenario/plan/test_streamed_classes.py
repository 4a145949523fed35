"""Which classes are streamed: spellings of one name joined, classes that no image shows left out, both said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clsim import load_scenario
from clsim.errors import Unplannable
from clsim.scenario.plan.streamed_classes import Streamed, streamed_classes

NAMES = ("dog", "cat", "Cat", "bird", "cat\u00a0")
TRAIN = np.array([[1, 0, 1, 0, -1], [0, 1, 0, 0, 0], [1, -1, -1, 0, -1], [0, 0, 1, 0, 0], [0, -1, 0, 0, -1]], np.int8)
TEST = np.array([[1, 0, 0, 0, 1]], np.int8)
NOTES = (
    r"joined as class 'Cat' (dataset.spellings: join): 'cat', 'cat\xa0'",
    "classes that no image shows, left out (dataset.classes: used): bird",
)


def streamed(soft: Any = None, **dataset: Any) -> Streamed:
    training = {"epochs": 1, "optimizer": {"lr": 0.1}}
    content = {"name": "own", "dataset": {"name": "digits", **dataset}, "stream": {"increment": 1}}
    return streamed_classes(load_scenario({**content, "training": training}).config, NAMES, TRAIN, TEST, soft)


def test_spellings_are_joined_under_the_commonest() -> None:
    found = streamed(spellings="join", classes="used")
    assert found.names == ["dog", "Cat"]
    assert found.train.tolist() == [[1, 1], [0, 1], [1, -1], [0, 1], [0, 0]]
    assert found.test.tolist() == [[1, 1]]
    assert found.notes == NOTES
    assert streamed(spellings="join").names == ["dog", "Cat", "bird"]


def test_any_spelling_chooses_the_joined_class() -> None:
    assert streamed(spellings="join", classes=["CAT"]).names == ["Cat"]
    with pytest.raises(Unplannable, match="'Cat' is listed more than once"):
        streamed(spellings="join", classes=["Cat", "cat"])
    with pytest.raises(
        Unplannable, match=r"'cat' and 'Cat' \(2 like them\) .*; dataset\.spellings: join makes them one"
    ):
        streamed()


def test_soft_labels_are_joined_by_the_largest_and_yield_to_a_hard_one() -> None:
    soft = np.zeros(TRAIN.shape, np.float32)
    soft[0, 4], soft[2, 1], soft[2, 2] = 0.5, 0.25, 0.75
    found = streamed(soft, spellings="join", classes="used")
    assert found.soft is not None
    assert found.soft[:, 1].tolist() == [0, 0, 0.75, 0, 0]
    assert found.train[:, 1].tolist() == [1, 1, -1, 1, 0]


def test_without_a_word_nothing_is_left_out_or_said() -> None:
    found = streamed(classes=list(NAMES[:4]))
    assert (found.names, found.notes) == (["dog", "cat", "Cat", "bird"], ())
    np.testing.assert_array_equal(found.train, TRAIN[:, :4])
