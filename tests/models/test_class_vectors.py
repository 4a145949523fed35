"""Vectors of classes: drawn by seed and name, or from a file in the format of GloVe."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clsim.errors import RunError
from clsim.models.class_vectors import ClassVectors


def test_a_drawn_vector_depends_on_seed_and_name_alone() -> None:
    one, other = ClassVectors(["cat", "dog"], 0, 50), ClassVectors(["dog", "owl", "cat"], 0, 50)
    assert torch.equal(one(range(2))[0], other(range(3))[2])
    assert torch.equal(other(range(2))[0], one(range(1, 2))[0])
    assert not torch.equal(one(range(1)), ClassVectors(["cat"], 1, 50)(range(1)))
    drawn = ClassVectors([str(name) for name in range(40)], 0)(range(40))
    assert float(drawn.mean()) == pytest.approx(0, abs=0.03)
    assert float(drawn.std()) == pytest.approx(1, abs=0.03)
    assert ClassVectors([], 0, 5)(range(3)).shape == (3, 5)


@pytest.fixture
def glove(tmp_path: Path) -> Path:
    file = tmp_path / "glove.txt"
    file.write_text("the 9 9\ndog 1 2\ntable 0 4\ndining 2 0\npotted-plant 5 5\ndog 7 7\nbroken 1\nworse x y\n")
    return file


def test_vectors_of_a_file_are_found_by_name_and_by_words(glove: Path) -> None:
    vectors = ClassVectors(["Dog", "dining table", "potted plant"], 0, file=glove)
    assert vectors.width == 2
    assert vectors(range(3)).tolist() == [[1, 2], [1, 2], [5, 5]]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["dogg"], "glove.txt: no vector of class 'dogg', did you mean 'dog'?"),
        (["dining chair"], "glove.txt: no vector of class 'dining chair', nor of its word 'chair'"),
        (["dog", "broken"], "glove.txt, line 7: given 1 numbers of 'broken', expected 2"),
        (["worse"], "glove.txt, line 8: expected a name and numbers: could not convert"),
    ],
)
def test_what_a_file_lacks_is_one_clear_line(glove: Path, names: list[str], message: str) -> None:
    with pytest.raises(RunError) as error:
        ClassVectors(names, 0, file=glove)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"none.txt: class vectors cannot be read: No such file"):
        ClassVectors(["cat"], 0, file=tmp_path / "none.txt")
