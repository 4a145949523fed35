"""Files that are either whole or not there, and files that grow."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any, BinaryIO

from clsim.file_lock import lock_now

YOUNG = 2.0
"""Seconds after which a half-written file that nobody holds was left by a process that was killed."""


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader, or a machine that dies, sees the old content or all of the new."""
    with written_whole(path) as file:
        file.write(encoded(content))


def encoded(content: str | bytes) -> bytes:
    """Return a text in UTF-8; what a file name holds that is none becomes the bytes that it is."""
    return content.encode(errors="surrogateescape") if isinstance(content, str) else content


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write, for content too large for `write_atomically`; it becomes `path` once the block has ended.

    Two writers at once do not disturb each other, even in containers that share a folder and count processes alike;
    the last one stays. What killed ones have left is removed.

    Raises:
        OSError: with `path` as its file name.
    """
    part = _part_of(path)
    with naming_errors(path):
        _remove_left(path)
        try:
            with part.open("wb") as file:
                with suppress(OSError):  # a file system without locks, on which nothing is removed either
                    lock_now(file.fileno())
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
            _sync_folder(path.parent)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def part_folder(target: Path) -> Iterator[Path]:
    """Make a folder beside `target`, to be filled and renamed to it in the block; what is not renamed is removed.

    What killed processes have left beside `target` is removed first. A living one holds a lock on its folder.

    Raises:
        OSError: it cannot be made.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_left(target)
    part = _part_of(target)
    part.mkdir()
    descriptor = os.open(part, os.O_RDONLY)
    try:
        with suppress(OSError):
            lock_now(descriptor)
        yield part
    finally:
        os.close(descriptor)
        shutil.rmtree(part, ignore_errors=True)


def _part_of(path: Path) -> Path:
    """Return the name of a half-written file or folder, which no other process takes, in whatever container it is."""
    return path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.part")


def _remove_left(path: Path) -> None:
    """Remove half-written files and folders of `path` that no living process holds; those of a moment ago are kept."""
    for left in path.parent.glob(f".{escape(path.name)}.*.part"):
        with suppress(OSError):  # another process holds it, or has removed it
            if not S_ISREG(mode := left.lstat().st_mode) and not S_ISDIR(mode):
                continue
            descriptor = os.open(left, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                if time.time() - os.fstat(descriptor).st_mtime > YOUNG:  # its writer may be about to lock it
                    lock_now(descriptor)
                    shutil.rmtree(left) if S_ISDIR(mode) else left.unlink()
            finally:
                os.close(descriptor)


def json_text(content: Any) -> str:
    """Return strict JSON, indented; NaN is an error."""
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def write_json(path: Path, content: Any) -> None:
    """Write strict JSON, indented, atomically; NaN is an error."""
    write_atomically(path, json_text(content))


def remove_parts(folder: Path) -> None:
    """Remove the half-written files of killed writers; no one else may be writing to the folder."""
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)


class GrowingFile:
    """A file that is only added to, and can be cut back to a length it once had.

    Each addition has left the process when `append` returns: an error is raised where it happens, and what a killed
    process has written stays.

    Raises:
        OSError: with the file's name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, content: str | bytes) -> int:
        """Add text or bytes at the end, and return the length in bytes after that."""
        with naming_errors(self.path), self.path.open("ab") as file:
            file.write(encoded(content))
            return file.tell()

    def read(self) -> bytes:
        """Return the whole content; empty if there is no file."""
        return self.path.read_bytes() if self.path.exists() else b""

    def sync(self) -> int:
        """Flush all content to the disk and return its length in bytes."""
        if not self.path.exists():
            return 0
        with naming_errors(self.path), self.path.open("rb+") as file:
            os.fsync(file.fileno())
            return file.seek(0, os.SEEK_END)

    def cut(self, length: int) -> None:
        """Cut the file back to its first `length` bytes."""
        if self.path.exists():
            with naming_errors(self.path):
                os.truncate(self.path, length)


@contextmanager
def naming_errors(path: Path) -> Iterator[None]:
    """Re-raise an OSError with the file name, which a failed write leaves out."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def _sync_folder(folder: Path) -> None:
    """A renamed file outlives a power failure only once its folder is on the disk too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
