"""Problems are counted, and the first ten told; texts of the others are not even made."""

from __future__ import annotations

import pytest

from clsim.data.problems import Problems
from clsim.errors import ClsimError, Unplannable


def test_the_number_of_all_and_the_first_ten() -> None:
    problems = Problems()
    problems.refuse()
    made: list[int] = []
    for line in range(1000):
        problems.add(f"a.csv:{line}", lambda line=line: made.append(line) or "wrong")  # type: ignore[misc, func-returns-value]
    with pytest.raises(Unplannable, match=r"^dataset\.file: 1000 problems, the first 10:\na\.csv:0: wrong\n") as caught:
        problems.refuse("file")
    assert len(caught.value.text.splitlines()) == 11
    assert made == list(range(10))


def test_one_problem_is_one_line() -> None:
    with pytest.raises(ClsimError, match=r"^a\.csv: wrong$"):
        Problems().stop("a.csv", "wrong")
    problems = Problems()
    problems.add("", "a.csv: wrong")
    problems.add("b.csv", "wrong")
    assert problems.text() == "2 problems:\na.csv: wrong\nb.csv: wrong"
    problems.add("", "x" * 1000)
    assert problems.text().splitlines()[3] == "x" * 400 + " ..."
