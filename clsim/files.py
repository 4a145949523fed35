"""Files that are either whole or not there, and files that grow."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader, or a machine that dies, sees the old content or all of the new."""
    with written_whole(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write, for content too large for `write_atomically`; it becomes `path` once the block has ended.

    Two writers at once do not disturb each other, even in containers that share a folder and count processes alike;
    the last one stays.

    Raises:
        OSError: with `path` as its file name.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.part")
    with naming_errors(path):
        try:
            with part.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
            _sync_folder(path.parent)
        finally:
            part.unlink(missing_ok=True)


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

    def append(self, content: str | bytes) -> None:
        """Add text or bytes at the end."""
        with naming_errors(self.path), self.path.open("ab") as file:
            file.write(content.encode() if isinstance(content, str) else content)

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
