"""What a method may not see is closed while a run trains: labels of the data set, plans, and rows of later tasks.

It guards against mistakes and casual cheating. Code that opens files itself finds what is in them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

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
    """Return `file:line: ` of the innermost caller outside clsim and Python's own modules; "" if there is none."""
    frame = sys._getframe(1)
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        package = name.partition(".")[0]
        if package != "clsim" and package not in sys.stdlib_module_names and not frame.f_code.co_filename[:1] == "<":
            return f"{frame.f_code.co_filename}:{frame.f_lineno}: "
        frame = frame.f_back  # type: ignore[assignment]
    return ""
