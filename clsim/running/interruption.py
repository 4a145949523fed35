"""Signals that ask to stop, for a single run, for a comparison and for each of its processes.

SIGTERM and SIGHUP ask a process to stop where nothing is lost. More of them within GRACE seconds change nothing: a
batch system sends them to every process of a job, and a comparison sends its runs one more. The first SIGINT (Ctrl-C)
asks for the same; the second one is a person's and means at once.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE = 30.0
"""Seconds. DECIDED: Slurm's default between SIGTERM and SIGKILL (KillWait)."""

INTERRUPTED = 130
"""Exit code of a process that was asked to stop."""

_requested_at: float | None = None
"""When this process was asked to stop, by `time.monotonic`; signals belong to the process as a whole."""


class Interruption:
    """Whether something has asked to stop.

    Args:
        parent: descriptor of the reading end of a pipe whose writing end only the parent process holds. The end of
            the parent, even by SIGKILL, is a request too. None: the end of the parent does not matter.

    Attributes:
        at_once: stop without waiting for a point where nothing is lost.
    """

    def __init__(self, parent: int | None = None) -> None:
        self.at_once = False
        self._parent = parent
        self._requested: float | None = None
        self._ctrl_c_count = 0
        if parent is not None:
            os.set_blocking(parent, False)

    @property
    def requested(self) -> bool:
        """Whether to stop at the next point where nothing is lost."""
        return self._requested is not None or self._parent_has_ended()

    def request(self) -> None:
        """Ask to stop."""
        if self._requested is None:
            self._requested = time.monotonic()

    def take(self, number: int, frame: FrameType | None = None) -> None:
        """Handle a signal; may be called between any two instructions."""
        _note_request()
        late = self._requested is not None and time.monotonic() - self._requested > GRACE
        self.request()
        self._ctrl_c_count += number == signal.SIGINT
        if self._ctrl_c_count > 1 or (late and number != signal.SIGINT):
            self.at_once = True

    def _parent_has_ended(self) -> bool:
        if self._parent is None:
            return False
        try:
            return not os.read(self._parent, 1)
        except BlockingIOError:
            return False


@contextmanager
def interruptible(parent: int | None = None) -> Iterator[Interruption]:
    """Turn signals into requests while the block runs; one that means at once raises KeyboardInterrupt.

    Args:
        parent: as in `Interruption`.
    """
    interruption = Interruption(parent)

    def take(number: int, frame: FrameType | None) -> None:
        interruption.take(number)
        if interruption.at_once:
            raise KeyboardInterrupt

    with handled(take):
        yield interruption


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt on a signal while the block runs; for the main function of a process.

    Once the process has been asked to stop, here or by an `Interruption`, more of SIGTERM and SIGHUP do nothing for
    GRACE seconds. After the block they do nothing until the process has ended, which so keeps its exit code.
    """
    global _requested_at

    def end(number: int, frame: FrameType | None) -> None:
        if _note_request() or number == signal.SIGINT:
            raise KeyboardInterrupt

    _requested_at = None
    try:
        with handled(end):
            yield
    finally:
        if _requested_at is not None:
            for number in (signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)


@contextmanager
def handled(take: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Have signals handled by `take` while the block runs.

    SIGINT and SIGHUP stay ignored where they are, as under nohup. SIGTERM does not: a comparison stops its runs by it.
    Python delivers signals to the main thread only; in another thread nothing is handled.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            handler = signal.getsignal(number)
            if handler is not None and (handler != signal.SIG_IGN or number == signal.SIGTERM):
                before[number] = handler
                signal.signal(number, take)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _note_request() -> bool:
    """Note that this process is asked to stop, and return whether that is news, or older than GRACE."""
    global _requested_at
    now = time.monotonic()
    news = _requested_at is None or now - _requested_at > GRACE
    if news:
        _requested_at = now
    return news
