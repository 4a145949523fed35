"""What a method may not see is closed while a run trains: labels of the data set, plans, and rows of later tasks.

It guards against mistakes and casual cheating. Code that opens files itself finds what is in them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType

from clsim.errors import RunError

_is_sealed: ContextVar[bool] = ContextVar("sealed", default=False)


class Sealed(RunError):
    """What was asked for is closed while a run trains."""


@contextmanager
def sealed() -> Iterator[None]:
    """Close labels and plans to the code that this block runs, in its thread."""
    token = _is_sealed.set(True)
    try:
        yield
    finally:
        _is_sealed.reset(token)


def refuse_sealed(what: str) -> None:
    """Refuse what would lead to hidden labels, inside `sealed`; outside do nothing.

    Args:
        what: was asked for, such as "Scenario.truth()".

    Raises:
        Sealed: naming the line that asked.
    """
    if _is_sealed.get():
        raise Sealed(
            f"{asking_line()}{what} is closed while a run trains: a method sees what its batches, learner.store and "
            "Context show"
        )


def asking_line() -> str:
    """Return `file:line: ` of the innermost caller that is a user's own code; "" if there is none."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        file = frame.f_code.co_filename
        shipped = package == "clsim" or package in sys.stdlib_module_names or "site-packages" in file
        if not shipped and not file.startswith("<"):
            return f"{file}:{frame.f_lineno}: "
        frame = frame.f_back
    return ""
