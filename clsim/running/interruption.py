"""Signals that ask a run to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Whether the run has been asked to stop at the next point where it can be cut."""

    requested = False


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Inside it the first SIGINT or SIGTERM is a request; a second one acts at once, as it would without this.

    Python delivers signals to the main thread only; in another thread nothing is caught.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def request(number: int, frame: FrameType | None) -> None:
        interruption.requested = True
        restore()

    for number in SIGNALS:
        signal.signal(number, request)
    try:
        yield interruption
    finally:
        restore()
