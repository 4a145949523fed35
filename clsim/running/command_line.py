"""The command that a process was started with, as a user would type it again."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path


def command_line() -> str:
    """Return `clsim compare ...`, or `python script.py ...`; "" in a notebook or an interactive session."""
    if not sys.argv or getattr(sys.modules["__main__"], "__file__", None) is None:
        return ""
    program, *arguments = sys.argv
    path = Path(program)
    if path.stem == "clsim" or (path.name == "__main__.py" and path.parent.name == "clsim"):
        return shlex.join(["clsim", *arguments])
    return shlex.join(["python", program, *arguments]) if path.is_file() else ""
