"""The kernel's lock on a file, which only one process holds at a time.

The lock (`flock`) goes with the process that holds it. A process that is killed, a process number that is given again
and a machine that is started anew leave nothing behind that looks like a holder.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def open_locked(path: Path, before_waiting: Callable[[], None] | None = None) -> BinaryIO:
    """Open a file for reading and writing, made if it is new, and lock it until it is closed.

    A holder may remove or rename the file before it closes it. Whoever waits for the lock then opens the path anew, so
    the file that is returned is the one at the path.

    Args:
        before_waiting: called if another process holds the lock, before this one waits for it; None: do not wait.

    Raises:
        BlockingIOError: another process holds the lock, and `before_waiting` is None.
        OSError: the file cannot be opened or locked.
    """
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+b")
        try:
            _lock(file, before_waiting)
            if _is_at(path, file):
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def lock_now(descriptor: int) -> None:
    """Lock an open file or folder until it is closed.

    Raises:
        BlockingIOError: another process holds the lock.
        OSError: the file system has no locks.
    """
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _lock(file: BinaryIO, before_waiting: Callable[[], None] | None) -> None:
    try:
        lock_now(file.fileno())
    except BlockingIOError:
        if before_waiting is None:
            raise
        before_waiting()
        fcntl.flock(file, fcntl.LOCK_EX)


def _is_at(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
