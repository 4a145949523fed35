"""A run folder held against a second writer, also by processes of several machines that share it.

On one machine the lock is the kernel's (`clsim.file_lock`) on a file `lock` in the folder. It ends with its holder.

Not every shared file system carries that lock from machine to machine, and none says whether a lost machine comes
back. So the file holds a token of its own for each holder, and the holder gives a sign of life by the file's time. A
holder on another machine that has given none for STALE seconds counts as lost: whoever comes then writes its own token.
A holder that was only cut off finds the other token (`Hold.check`) before it writes a checkpoint, and ends.

Ray and Slurm know at once that a machine is lost. All attempts at a run that they make for one order write the name of
the order beside the token; an attempt takes the lock of an earlier one of its order over without waiting.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from clsim.errors import RunError
from clsim.file_lock import open_locked
from clsim.opening import regular
from clsim.running.run_folder import RunFolder

BOOT = Path("/proc/sys/kernel/random/boot_id")
MOST_BYTES = 4096
"""Read of a lock file; a holder writes less."""
BEAT = 30.0
"""Seconds between two signs of life."""
STALE = 600.0
"""Seconds without a sign of life after which another machine takes the folder over.

DECIDED: twenty signs, because a file server that stands still for some minutes must not cost a run its folder."""
LAST_SAVE = 60.0
"""Seconds for which an attempt waits for an earlier one of its order, which lives on and writes a checkpoint."""

IN_USE = 11
"""Exit code of a run's process that could not have the folder, or lost it; the number of EAGAIN."""


class FolderInUse(RunError):
    """Another process holds the folder."""


class LockLost(FolderInUse):
    """Another machine has taken the folder over, or somebody has removed the lock."""


class Hold:
    """A folder that this process holds.

    Attributes:
        token: of this holder alone.
        lost: the last sign of life found the token of another holder.
    """

    def __init__(self, folder: Path, token: str, file: BinaryIO) -> None:
        self.folder, self.token = folder, token
        self._file = file
        self.lost = False
        self._looked = time.time()  # a clock that goes on while the machine sleeps

    @property
    def is_ours(self) -> bool:
        """Whether the lock file still has the token of this process."""
        return _read_holder(RunFolder(self.folder).lock).get("token") == self.token

    def check(self) -> None:
        """Read the lock file.

        Raises:
            LockLost: it does not have the token of this process.
        """
        self._looked = time.time()
        if not self.is_ours:
            self.lost = True
            holder = _read_holder(RunFolder(self.folder).lock)
            who = f"taken over by {_process_name(holder)} on {holder['host']}" if "host" in holder else "unlocked"
            raise LockLost(f"{self.folder}: {who} while this process was at work on it; nothing more is written here")

    def look(self) -> None:
        """Check, but read the file only if that is BEAT seconds ago, as after a machine was asleep; for every step.

        Raises:
            LockLost: as `check`.
        """
        if self.lost or time.time() - self._looked > BEAT:
            self.check()

    def leave_to_parent(self) -> None:
        """Close the lock's file in a forked process, so that the lock goes with the process that has taken it."""
        self._file.close()

    def beat(self) -> None:
        """Give a sign of life, unless another holder has the folder."""
        if self.is_ours:
            self._looked = time.time()
            with suppress(OSError):  # the next one may come through
                os.utime(RunFolder(self.folder).lock)
        elif "token" in _read_holder(RunFolder(self.folder).lock):  # else the file server may not answer
            self.lost = True


@contextmanager
def locked(folder: Path, order: str | None = None) -> Iterator[Hold]:
    """Hold the folder while the block runs, with a sign of life every BEAT seconds.

    Args:
        order: name that all attempts at one order share. Whoever starts this attempt vouches that the machine or the
            process of each earlier one is lost; None: nobody does.

    Raises:
        FolderInUse: a living process holds it, perhaps on another machine.
        RunError: it cannot be written.
    """
    path = RunFolder(folder).lock
    try:
        file, hold = _open(folder, path, order)
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from None
    ended = threading.Event()
    with file:
        thread = threading.Thread(target=_beat_until, args=(ended, hold), daemon=True, name="clsim lock")
        thread.start()
        try:
            yield hold
        finally:
            ended.set()
            thread.join()
            if hold.is_ours:
                path.unlink(missing_ok=True)  # before the lock goes: whoever takes this file sees that it is gone


def in_use(folder: Path) -> bool:
    """Tell whether a living process holds the folder, here or on another machine; the lock file stays as it is."""
    path = RunFolder(folder).lock
    if not path.exists():
        return False
    try:
        with open_locked(path):
            holder = _read_holder(path)
            if (other := _other_machine(holder)) is not None:
                _refuse_living(folder, path, holder, other)
            return False
    except (BlockingIOError, FolderInUse):
        return True


def _beat_until(ended: threading.Event, hold: Hold) -> None:
    while not ended.wait(BEAT):
        hold.beat()


def _open(folder: Path, path: Path, order: str | None) -> tuple[BinaryIO, Hold]:
    """Open the lock file, locked, with this process as its content."""
    file = _open_free(folder, path, order)
    try:
        holder = _read_holder(path)
        if (other := _other_machine(holder)) is not None and not _is_of(holder, order):
            _refuse_living(folder, path, holder, other)
        if os.fstat(file.fileno()).st_size:  # of a holder that was killed
            file.truncate(0)
        hold = Hold(folder, secrets.token_hex(8), file)
        content = {"pid": os.getpid(), "host": socket.gethostname(), "boot": _boot_id(), "token": hold.token}
        content |= {} if order is None else {"order": order}
        file.write(json.dumps(content).encode())
        file.flush()
        os.fsync(file.fileno())
    except BaseException:
        file.close()
        raise
    return file, hold


def _open_free(folder: Path, path: Path, order: str | None) -> BinaryIO:
    """Open the lock file, locked; an earlier attempt at the order that lives on this machine has time to end."""
    until = time.monotonic() + LAST_SAVE
    while True:
        try:
            return open_locked(path)
        except BlockingIOError:
            holder = _read_holder(path)
            if time.monotonic() > until or not _is_of(holder, order):
                raise FolderInUse(f"{folder}: in use by {_other_machine(holder) or _process_name(holder)}") from None
        time.sleep(0.2)


def _is_of(holder: dict[str, Any], order: str | None) -> bool:
    return order is not None and holder.get("order") == order


def _refuse_living(folder: Path, path: Path, holder: dict[str, Any], other: str) -> None:
    """Raise FolderInUse if a process on another machine may be alive.

    DECIDED: one without a token, of an older version of clsim, gives no signs of life and is never taken for lost.
    """
    silent = _server_now(path) - path.stat().st_mtime
    if "token" not in holder:
        raise FolderInUse(f"{folder}: in use by {other}, or left by it; if it runs no more, remove {path}")
    if silent < STALE:
        raise FolderInUse(
            f"{folder}: in use by {other}, or left by it; its last sign of life is {max(0, round(silent))} s old, "
            f"after {STALE:.0f} s it is taken over; if it runs no more, remove {path}"
        )


def _server_now(path: Path) -> float:
    """Return the time by the clock that the times of files beside `path` come from."""
    probe = path.with_name(f".{path.name}.{secrets.token_hex(8)}.time")
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _read_holder(path: Path) -> dict[str, Any]:
    """Return what the holder wrote; empty where that is nothing readable."""
    try:
        with open(path, "rb", opener=regular) as file:
            content = json.loads(file.read(MOST_BYTES))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _process_name(holder: dict[str, Any]) -> str:
    return f"process {holder['pid']}" if "pid" in holder else "another process"


def _other_machine(holder: dict[str, Any]) -> str | None:
    """Name the holder, where this machine's kernel cannot know whether it lives; else return None.

    Containers with names of their own share a kernel, and so a boot.
    """
    if "host" not in holder or holder["host"] == socket.gethostname() or holder.get("boot") == _boot_id():
        return None
    return f"{_process_name(holder)} on {holder['host']}"


def _boot_id() -> str | None:
    try:
        return BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return None
