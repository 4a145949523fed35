"""Files that are either whole or not there."""

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
    """A file to write into, for what is too large for `write_atomically`: it becomes `path` once the block has ended.

    Two writers at once do not disturb each other, even in containers that share a folder and count processes alike;
    the last one stays.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Strict JSON, indented, atomically; NaN is an error, not a word."""
    write_atomically(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
