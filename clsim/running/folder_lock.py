"""A run folder held against a second writer.

The lock is the kernel's (`clsim.file_lock`) on a file `lock` in the folder. The content of the file is for people, and
for folders that several machines share.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from clsim.errors import RunError
from clsim.file_lock import open_locked
from clsim.running.run_folder import RunFolder

BOOT = Path("/proc/sys/kernel/random/boot_id")
MOST_BYTES = 4096
"""Read of a lock file; a holder writes less."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder while the block runs.

    Raises:
        RunError: a living process holds it, perhaps on another machine; or it cannot be written.
    """
    path = RunFolder(folder).lock
    try:
        file = _open(folder, path)
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from None
    with file:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # before the lock goes: whoever takes this file sees that it is gone


def _open(folder: Path, path: Path) -> BinaryIO:
    """Open the lock file, locked, with this process as its content."""
    try:
        file = open_locked(path)
    except BlockingIOError:
        holder = _read_holder(path)
        raise RunError(f"{folder}: in use by {_other_machine(holder) or _process_name(holder)}") from None
    try:
        if (other := _other_machine(_read_holder(path))) is not None:
            raise RunError(f"{folder}: in use by {other}, or left by it; if it runs no more, remove {path}")
        if os.fstat(file.fileno()).st_size:  # of a holder that was killed
            file.truncate(0)
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "boot": _boot_id()}
        file.write(json.dumps(holder).encode())
        file.flush()
    except BaseException:
        file.close()
        raise
    return file


def _read_holder(path: Path) -> dict[str, Any]:
    """Return what the holder wrote; empty where that is nothing readable."""
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(MOST_BYTES))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _process_name(holder: dict[str, Any]) -> str:
    return f"process {holder['pid']}" if "pid" in holder else "another process"


def _other_machine(holder: dict[str, Any]) -> str | None:
    """Name the holder, where this machine's kernel cannot know whether it lives; else return None.

    DECIDED: a lock that another machine has left is never taken over, because not every shared file system carries
    `flock` from machine to machine. Containers with names of their own share a kernel, and so a boot.
    """
    if "host" not in holder or holder["host"] == socket.gethostname() or holder.get("boot") == _boot_id():
        return None
    return f"{_process_name(holder)} on {holder['host']}"


def _boot_id() -> str | None:
    try:
        return BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return None
