"""Lists in a cell: every form gives the same names, and one that may mean something else gives none."""

from __future__ import annotations

from typing import Any

import pytest

from clsim.data.list_cells import read_list

NAMES = ("cat", "big dog", "bird's nest")


@pytest.mark.parametrize(
    "cell",
    [
        "cat|big dog|bird's nest",
        " cat | big dog|bird's nest| ",
        '["cat", "big dog", "bird\'s nest"]',
        """['cat', 'big dog', "bird's nest"]""",
        r"('cat', 'big dog', 'bird\'s nest',)",
        """{"cat", 'big dog', "bird's nest"}""",
        '{cat,"big dog",bird\'s nest}',
        '{"choices": ["cat", "big dog", "bird\'s nest"]}',
        '[{"x": 1, "rectanglelabels": ["cat", "big dog"]}, {"rectanglelabels": ["bird\'s nest"]}]',
        ["cat", "big dog", "bird's nest"],
        {"choices": ["cat", "big dog", "bird's nest"]},
    ],
    ids=str,
)
def test_forms_of_one_list(cell: Any) -> None:
    found = read_list(cell, "|")
    assert (found.names, found.problem) == (NAMES, "")
    assert found.by_form == (not isinstance(cell, str) or cell.lstrip()[0] in "[({")


@pytest.mark.parametrize("cell", [None, "", " ", "[]", "{}", "()", "set()", []])
def test_forms_of_no_class(cell: Any) -> None:
    assert read_list(cell, "|") == ((), True, "")


def test_whole_numbers_are_names() -> None:
    for cell in ("[1, 22]", "(1, 22)", "{1,22}", [1, 22]):
        assert read_list(cell, "|").names == ("1", "22")


def test_several_blanks_are_one_separator() -> None:
    assert read_list("  cat   dog ", " ").names == ("cat", "dog")


@pytest.mark.parametrize(
    "cell",
    [
        "['cat' 'dog']",
        "[cat, dog]",
        r"['\x63at']",
        '["cat", 1.5]',
        '{"cat": true}',
        '[{"choices": ["cat"], "labels": ["dog"]}]',
        "{cat,NULL}",
        "[" * 100_000,
        1.5,
    ],
    ids=lambda cell: str(cell)[:20],
)
def test_what_is_no_list_of_names(cell: Any) -> None:
    found = read_list(cell, "|")
    assert not found.names
    assert found.problem.startswith("given ")


@pytest.mark.parametrize("cell", ["('cat')", "{cat: dog}", "{cat,{dog}}", "(cat, dog)", "{'cat' 'dog'}"])
def test_marks_that_are_no_form_are_left_to_the_separator(cell: str) -> None:
    assert not read_list(cell, "|").by_form


def test_a_vocabulary_is_taken_as_it_stands() -> None:
    assert read_list("{a,b}|(c)", "|", ("{a,b}", "(c)")).names == ("{a,b}", "(c)")
    assert read_list("{a,b}", "|", ("a", "b")).names == ("a", "b")
