"""A class of the user that is a whole ImageSource."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clsim.data.source import FeatureSource
from tests.fixtures import own_data_sets
from tests.fixtures.own_data_sets import IMAGES, LABELS, problem

own = own_data_sets.own

SOURCE = """
import numpy as np

class Source:
    class_names = ("cat", "dog")

    def labels(self, split):
        return np.array([[1, 0], [0, 1], [1, -1]], dtype=np.int8)

    def images(self, split, size):
        return np.full((3, 3, size, size), 7, dtype=np.uint8)

    def fingerprint(self):
        return "v1"
"""


def test_a_source_is_taken_as_it_is(own: Any) -> None:
    source = own(SOURCE, "Source")
    assert source.class_names == ("cat", "dog")
    assert source.labels("test").tolist() == [[1, 0], [0, 1], [1, -1]]
    assert source.images("train", 5).shape == (3, 3, 5, 5)
    assert (source.fingerprint(), source.image_names("train")) == ("v1", ["0", "1", "2"])
    assert source.soft_labels("train") is None
    source.check_size(5)


COLUMN, AREAS = "def column(self, split, name):\n    return ", "def box_areas(self, split):\n    return "


def test_a_source_may_know_domains_and_boxes(own: Any) -> None:
    add = f"{COLUMN}[split, name, 3]\n{AREAS}[[0.5, np.nan]] * 3"
    source = own(SOURCE, "Source", add=add)
    assert source.column("train", "weather") == ["train", "weather", "3"]
    np.testing.assert_array_equal(source.box_areas("train"), np.array([[0.5, np.nan]] * 3, dtype=np.float32))


@pytest.mark.parametrize(
    ("add", "text"),
    [
        ("", "Source has no method column(split, name)"),
        (COLUMN + "[1]", "column('train', 'weather'): given 1 values, allowed: 3"),
        (COLUMN + "split.x", "column('train', 'weather'): AttributeError"),
    ],
)
def test_a_bad_column_meets_one_clear_line(own: Any, add: str, text: str) -> None:
    assert text in problem(lambda: own(SOURCE, "Source", add=add), lambda source: source.column("train", "weather"))


@pytest.mark.parametrize(
    ("add", "text"),
    [
        ("", "Source has no method box_areas(split)"),
        (AREAS + "np.full((3, 2), 2.0)", "box_areas('train'): given float32 [3, 2], allowed: values in [0, 1] or NaN"),
        (AREAS + "np.zeros((2, 2))", "box_areas('train'): given float32 [2, 2]"),
    ],
)
def test_bad_areas_meet_one_clear_line(own: Any, add: str, text: str) -> None:
    assert text in problem(lambda: own(SOURCE, "Source", add=add), lambda source: source.box_areas("train"))


@pytest.mark.parametrize(
    ("add", "text"),
    [
        (
            LABELS + "np.zeros((3, 5))",
            "labels('train'): given float64 [3, 5], allowed: int8 [N, 2]",
        ),
        (
            LABELS + "np.full((3, 2), 2)",
            "labels('train')[0, 0]: given 2, allowed: 1 present",
        ),
        (
            LABELS + "split.x",
            "labels('train'): AttributeError: 'str' object has no attribute 'x'",
        ),
        ("class_names = 'cat'", "class_names: given cat, allowed: a list of texts"),
        (
            IMAGES + "np.zeros((3, 3, 5, 5))",
            "images('train', 8): given float64 [3, 3, 5, 5]",
        ),
        (
            IMAGES + "[]",
            "images('train', 8): given list, allowed: uint8 [3, 3, 8, 8]",
        ),
        ("def fingerprint(self):\n    return 3", "fingerprint(): given 3, allowed: a text"),
        (
            "def soft_labels(self, split):\n    return np.ones((3, 2))",
            "soft_labels('train'): given float32",
        ),
        (
            "def check_size(self, size):\n    raise ValueError('32 only')",
            "check_size(8): ValueError: 32 only (my_data.py:",
        ),
    ],
)
def test_a_bad_source_meets_one_clear_line(own: Any, add: str, text: str) -> None:
    def ask(source: Any) -> None:
        source.labels("train"), source.soft_labels("train"), source.check_size(8)
        source.images("train", 8), source.fingerprint()

    assert text in problem(lambda: own(SOURCE, "Source", add=add), ask)


def test_a_source_of_features(own: Any) -> None:
    text = SOURCE.replace("images(self, split, size)", "features(self, split)").replace("(3, 3, size, size)", "(3, 4)")
    source = own(text.replace("np.uint8", "np.float64"), "Source")
    assert isinstance(source, FeatureSource)
    assert (source.features("train").dtype, source.features("train").shape) == (np.float32, (3, 4))
    assert "given uint8 [3, 4], allowed: finite float32 [3, d]" in problem(
        lambda: own(text, "Source"), lambda source: source.features("train")
    )
    assert "no images" in problem(source, lambda source: source.images("train", 8))
