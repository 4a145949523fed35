"""Errors a user can cause. The command line prints their text and exits with code 2; anything else is a bug."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


class ClsimError(Exception):
    """Base of every error caused by input rather than by clsim. Its text says what was given and what is allowed."""


class ScenarioError(ClsimError):
    """One or more problems of a scenario file or of an override; `problems` holds one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
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
    matches = difflib.get_close_matches(str(given), [str(name) for name in allowed], n=1, cutoff=0.55)
    return f", did you mean {matches[0]!r}?" if matches else ""
