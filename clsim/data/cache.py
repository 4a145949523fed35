"""The cache folder, and how a file is known to be the one that was read before."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path


def cache_folder() -> Path:
    """Where decoded images and parsed labels are kept: $CLSIM_CACHE, by default ~/.cache/clsim."""
    return Path(os.environ.get("CLSIM_CACHE") or Path.home() / ".cache" / "clsim").absolute()


def state_digest(files: Iterable[Path | str], *what: object) -> str:
    """SHA-256 over path, size and modification time of files, in their order, and over `what` is made of them.

    Raises:
        OSError: a file is missing or cannot be examined; `filename` names it.
    """
    digest = hashlib.sha256(repr(what).encode())
    for file in files:
        state = os.stat(file)
        digest.update(f"\n{file}\0{state.st_size}\0{state.st_mtime_ns}".encode())
    return digest.hexdigest()


def missing_files(files: Iterable[Path]) -> list[Path]:
    """Those of the files that are not there."""
    return [file for file in files if not os.path.isfile(file)]
