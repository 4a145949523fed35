"""Errors a user can cause. The command line prints their text and exits with code 2; anything else is a bug."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_LONGEST_LINE = 2000
_LONGEST_NAME = 200


class ClsimError(Exception):
    """Base class of errors caused by input. The text says what was given and what is allowed.

    The text may quote input. Unprintable characters in it are escaped and long lines are cut.
    """

    def __init__(self, text: str = "") -> None:
        super().__init__(printable(text))


class ScenarioError(ClsimError):
    """One or more problems of a scenario file or of an override; `problems` holds one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = [printable(problem) for problem in problems]
        super().__init__("\n".join(self.problems))


class Unplannable(ScenarioError):
    """A configuration that is valid key by key but makes no stream of its data.

    Attributes:
        path: the key to change.
        text: what is wrong with it.
    """

    def __init__(self, path: tuple[str, ...], text: str) -> None:
        self.path = path
        self.text = text
        super().__init__([f"{'.'.join(path)}: {text}"])


class StrategyError(ClsimError):
    """An unknown strategy, a wrong option, or parts that cannot be combined."""


class RunError(ClsimError):
    """A run folder that is taken, incomplete or unreadable, or a run that cannot go on."""


class NotResumable(RunError):
    """A run whose state would not be complete, because a part of it cannot be saved."""


OUT_OF_MEMORY = 12
"""Exit code of a run's process that an OutOfMemoryError has ended; the number of ENOMEM."""


class OutOfMemoryError(RunError):
    """A run that needs more memory than the machine or the GPU has left."""


@contextmanager
def storage_errors(place: Path) -> Iterator[None]:
    """A full disk, a folder that may not be written and their like leave this block as a RunError.

    It names the file, or `place` where the operating system does not say which.
    """
    try:
        yield
    except OSError as error:
        raise RunError(f"{error.filename or place}: {error.strerror or error}") from error


def did_you_mean(given: object, allowed: Iterable[object]) -> str:
    """`", did you mean 'x'?"` for the nearest allowed name, or an empty string when nothing is near."""
    if len(str(given)) > _LONGEST_NAME:  # no misspelt name, and difflib would take seconds
        return ""
    matches = difflib.get_close_matches(str(given), [str(name) for name in allowed], n=1, cutoff=0.55)
    return f", did you mean {matches[0]!r}?" if matches else ""


def printable(text: str, longest: int | None = _LONGEST_LINE) -> str:
    """Return a text in which what a terminal would not print but obey is escaped.

    Args:
        longest: characters of a line, of which the middle is cut out; None: lines stay whole.
    """
    return "\n".join(_line(line, longest) for line in text.split("\n"))


def _line(line: str, longest: int | None) -> str:
    if longest is not None and len(line) > longest:
        half = longest // 2
        line = f"{line[:half]} ... {line[-half:]}"
    if line.isprintable():
        return line
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in line)
