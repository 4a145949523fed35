"""Work that is done once, before the first step of training: decoding images, computing features.

Whoever does it tells how far it has come; whoever shows runs listens.
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
    """How far one piece of work has come.

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
    _tell(Work(what, done, total))


def training_begins() -> None:
    """Report that all work that is done once is done."""
    _tell(None)


def counted(what: str, items: Iterable[Item], total: int) -> Iterator[Item]:
    """Yield the items, one per image, and report how many have been taken."""
    tell(what, 0, total)
    for done, item in enumerate(items, start=1):
        if done % EVERY == 0 or done == total:
            tell(what, done, total)
        yield item


def _tell(work: Work | None) -> None:
    for listener in tuple(_listeners):
        listener(work)
