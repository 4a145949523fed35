"""The command of a process, as a user would type it again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from clsim.running.command_line import command_line


@pytest.mark.parametrize(
    ("program", "said"),
    [("/opt/bin/clsim", "clsim"), ("clsim/__main__.py", "clsim"), (__file__, f"python {__file__}"), ("-c", "")],
)
def test_the_command_is_one_to_type_again(monkeypatch: pytest.MonkeyPatch, program: str, said: str) -> None:
    monkeypatch.setattr(sys, "argv", [program, "compare", "a b"])
    monkeypatch.setattr(sys.modules["__main__"], "__file__", program, raising=False)  # a worker of the tests has none
    assert command_line() == (f"{said} compare 'a b'" if said else "")


def test_a_notebook_has_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(Path(__file__)), "-f", "kernel.json"])
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    assert command_line() == ""
