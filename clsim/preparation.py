"""Work that is done once, before the first step of training: decoding images, computing features.

The code that does it reports how far it has come (`tell`); the code that shows runs listens (`listening`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

EVERY = 64
"""Images between two reports of `counted`."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Work:
    """A report of one piece of work.

    Attributes:
        what: "decoding".
        done: images done.
        total: images in all; 0: the work does not go image by image.
    """

    what: str
    done: int = 0
    total: int = 0

    def __str__(self) -> str:
        return f"{self.what} {self.done} of {self.total} images" if self.total else self.what


Listener = Callable[[Work | None], None]
"""Called with each report; with None when all such work is done and training begins."""

_listeners: list[Listener] = []


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call the listener with what this process reports inside the block."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def tell(what: str, done: int = 0, total: int = 0) -> None:
    """Report how far a piece of work has come."""
    _call_listeners(Work(what, done, total))


def training_begins() -> None:
    """Report that all work before training is done."""
    _call_listeners(None)


def counted(what: str, items: Iterable[Item], total: int) -> Iterator[Item]:
    """Yield the items, one per image, and report how many have been taken."""
    tell(what, 0, total)
    for done, item in enumerate(items, start=1):
        if done % EVERY == 0 or done == total:
            tell(what, done, total)
        yield item


def _call_listeners(work: Work | None) -> None:
    for listener in tuple(_listeners):
        listener(work)
