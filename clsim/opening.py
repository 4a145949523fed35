"""Files that somebody else may have made, opened so that none of them can stop or flood this process."""

from __future__ import annotations

import errno
import os
import zipfile
from pathlib import Path
from stat import S_ISDIR, S_ISREG

UNPACKED_AT_MOST = 1.01
"""Content of a file of weights, in sizes of the file. torch packs without compression; alignment takes some bytes."""


def regular(path: str, flags: int) -> int:
    """Open a file, as `opener` of `open`; a pipe or a device, whose reading may never end, is refused before.

    Raises:
        OSError: it is no regular file, or it cannot be opened.
    """
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)  # else opening a pipe waits for a writer
    mode = os.fstat(descriptor).st_mode
    if S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise OSError(errno.EINVAL, "not a regular file", path)


def read_regular(path: Path | str) -> bytes:
    """Return the content of a regular file.

    Raises:
        OSError: it is no regular file, or it cannot be read.
    """
    with open(path, "rb", opener=regular) as file:
        return file.read()


def refuse_packed(path: Path | str) -> None:
    """Raise ValueError if a file of weights is an archive whose content is larger than the file, as no tensors are."""
    with open(path, "rb", opener=regular) as file:
        if not zipfile.is_zipfile(file):
            return
        size = os.fstat(file.fileno()).st_size
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > UNPACKED_AT_MOST * size:
        raise ValueError(f"{size} bytes that unpack to {unpacked}, which files of weights do not")


def refuse_flood(path: Path | str) -> None:
    """Raise ValueError if the content of a zip archive would not fit into the memory of this machine."""
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if unpacked > memory:
        raise ValueError(f"unpacks to {unpacked / 1e9:.1f} GB; this machine has {memory / 1e9:.1f} GB of memory")
