"""Errors quote input, whatever it holds, in a text that a terminal can show."""

from __future__ import annotations

import pytest

from clsim.errors import ClsimError, ScenarioError, StrategyError, Unplannable, did_you_mean


@pytest.mark.parametrize("letter", ["\x1b", "\0", "\x85", "\u2028", "\u202e", "\ud800", "\r"])
def test_what_cannot_be_printed_is_escaped(letter: str) -> None:
    text = f"given a{letter}b, é allowed"
    errors = [
        ClsimError(text),
        StrategyError(text),
        ScenarioError([text]),
        Unplannable(("a",), text),
    ]
    for error in errors:
        assert str(error).isprintable()
        assert str(error).endswith(", é allowed")
    assert errors[2].problems == [str(errors[2])]  # type: ignore[attr-defined]


def test_lines_and_ordinary_texts_stay() -> None:
    assert str(ClsimError("one\ntwo: Größe 中 🙂")) == "one\ntwo: Größe 中 🙂"


def test_a_long_line_is_cut_in_the_middle() -> None:
    text = str(ClsimError("start " + "x" * 100_000 + " end"))
    assert len(text) == 2005
    assert text.startswith("start ")
    assert text.endswith(" end")


def test_nothing_is_near_a_name_of_megabytes() -> None:
    assert did_you_mean("lol" * 1_000_000, ["lol", "cat"]) == ""
    assert did_you_mean("cta", ["lol", "cat"]) == ", did you mean 'cat'?"
