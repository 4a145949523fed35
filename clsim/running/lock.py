"""A folder held against a second writer.

The lock is the kernel's (`flock`) on a file `lock` in the folder, so it goes with the process that holds it: a killed
process, a number that another process has since been given and a machine that was started anew leave nothing to
recognise. What the file says is for people, and for folders that several machines share.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from clsim.errors import RunError

BOOT = Path("/proc/sys/kernel/random/boot_id")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder while the block runs.

    Raises:
        RunError: a living process holds it, perhaps on another machine; or it cannot be written.
    """
    path = folder / "lock"
    try:
        file = _take(folder, path)
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from None
    with file:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # before the lock goes: whoever takes this file sees that it is gone


def _take(folder: Path, path: Path) -> IO[str]:
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if (other := _other_machine(_told(path))) is not None:
                raise RunError(f"{folder}: in use by {other}, or left by it; if it runs no more, remove {path}")
            if os.fstat(file.fileno()).st_size:  # of a holder that was killed
                file.truncate(0)
            json.dump({"pid": os.getpid(), "host": socket.gethostname(), "boot": _boot()}, file)
            file.flush()
            if _is_at(path, file):
                return file
            file.close()  # its last holder has removed it meanwhile
        except BlockingIOError:
            file.close()
            told = _told(path)
            raise RunError(f"{folder}: in use by {_other_machine(told) or _process(told)}") from None
        except BaseException:
            file.close()
            raise


def _is_at(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _told(path: Path) -> dict[str, Any]:
    """What the holder wrote; empty where it has written nothing readable."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _process(told: dict[str, Any]) -> str:
    return f"process {told['pid']}" if "pid" in told else "another process"


def _other_machine(told: dict[str, Any]) -> str | None:
    """The holder, where this machine's kernel cannot know whether it lives.

    DECIDED: a lock that another machine has left is never taken over, because not every shared file system carries
    `flock` from machine to machine. Containers with names of their own share a kernel, and so a boot.
    """
    if "host" not in told or told["host"] == socket.gethostname() or told.get("boot") == _boot():
        return None
    return f"{_process(told)} on {told['host']}"


def _boot() -> str | None:
    try:
        return BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return None
