"""Tables on the console."""

from __future__ import annotations

import pytest

from clsim.cli.tables import print_table, say


def test_escape_sequences_in_names_are_shown_and_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("class", "n"), [("a\x1b]0;title\x07b\x1b[31m", "1"), ("caf\u00e9\u202e", "2")])
    shown = capsys.readouterr().out
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)
    assert r"a\x1b]0;title\x07b\x1b[31m" in shown
    assert "caf\u00e9" + r"\u202e" in shown


def test_no_break_spaces_of_a_heading_are_spaces(capsys: pytest.CaptureFixture[str]) -> None:
    say("| Last mAP\u00a0\u2191 |")
    assert capsys.readouterr().out == "| Last mAP \u2191 |\n"
