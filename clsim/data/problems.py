"""Problems of input files: all are counted, the first ten shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn

from clsim.errors import ClsimError, Unplannable

MOST_SHOWN = 10
_LONGEST = 400  # characters of one of several problems


class Problems:
    """Problems of input files, in the order in which they are found.

    Attributes:
        count: of all.
        first: texts of the first `MOST_SHOWN`.
    """

    def __init__(self) -> None:
        self.count = 0
        self.first: list[str] = []

    def add(self, where: object, text: str | Callable[[], str]) -> None:
        """Note a problem.

        Args:
            where: a file, and a line where there is one; an empty text: `text` says it.
            text: what is wrong, or what returns it; called only if it is shown, because a hint takes time.
        """
        self.count += 1
        if len(self.first) < MOST_SHOWN:
            told = text if isinstance(text, str) else text()
            self.first.append(f"{where}: {told}" if where != "" else told)

    def extend(self, count: int, first: Sequence[str]) -> None:
        """Note problems that are counted already: their number and the texts of the first ones."""
        self.first += first[: MOST_SHOWN - len(self.first)]
        self.count += count

    def text(self) -> str:
        """Return the number of problems and the first ones, a line each; one problem alone; an empty text for none."""
        if self.count < 2:
            return "".join(self.first)
        shown = f", the first {len(self.first)}" if self.count > len(self.first) else ""
        return "\n".join([f"{self.count} problems{shown}:", *map(_cut, self.first)])

    def refuse(self, key: str | None = None) -> None:
        """Raise an error if there are problems.

        Args:
            key: option of `dataset` that the error names.

        Raises:
            Unplannable: there are some, with a key.
            ClsimError: there are some, without a key.
        """
        if self.count:
            raise ClsimError(self.text()) if key is None else Unplannable(("dataset", key), self.text())

    def stop(self, where: object, text: str) -> NoReturn:
        """Raise a ClsimError with a problem after which nothing more can be read."""
        self.add(where, text)
        self.refuse()
        raise AssertionError


def _cut(line: str) -> str:
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..."
