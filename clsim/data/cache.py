"""The cache folder, and how a file is known to be the one that was read before."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Iterable
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import TypeVar

File = TypeVar("File", Path, str)

_SIZE_AND_TIME = attrgetter("st_size", "st_mtime_ns")


def cache_folder() -> Path:
    """Where decoded images and parsed labels are kept: $CLSIM_CACHE, by default ~/.cache/clsim."""
    return Path(os.environ.get("CLSIM_CACHE") or Path.home() / ".cache" / "clsim").absolute()


def state_digest(files: Iterable[Path | str], *what: object) -> str:
    """SHA-256 over path, size and modification time of files, in their order, and over `what` is made of them.

    Every file is asked, one system call each: a folder's own time says nothing about a file edited in place.

    Raises:
        OSError: a file is missing or cannot be examined; `filename` names it.
    """
    paths = [os.fspath(file) for file in files]
    sizes_and_times = array("q", chain.from_iterable(map(_SIZE_AND_TIME, map(os.stat, paths))))
    digest = hashlib.sha256("\0".join([repr(what), *paths]).encode(errors="surrogateescape"))
    digest.update(sizes_and_times)
    return digest.hexdigest()


def missing_files(files: Iterable[File]) -> list[File]:
    """Those of the files that are not there."""
    return [file for file in files if not os.path.isfile(file)]
