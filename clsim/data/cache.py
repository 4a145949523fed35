"""The cache folder, and the state by which a file is known to be the one that was read before."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from array import array
from collections.abc import Iterable
from contextlib import suppress
from itertools import chain
from operator import attrgetter
from pathlib import Path
from stat import S_IMODE, S_ISREG
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from clsim.errors import ClsimError

File = TypeVar("File", Path, str)

TICK = 20_000_000
"""Nanoseconds after which a write gives a file another change time; the clock of Linux file systems ticks every 1 to 10
ms."""

_INODE = attrgetter("st_ino")
_SIZE_AND_TIMES = attrgetter("st_size", "st_mtime_ns", "st_ctime_ns")


def cache_folder() -> Path:
    """Return the folder of all caches: $CLSIM_CACHE, by default ~/.cache/clsim.

    Raises:
        ClsimError: neither it nor the user's home folder is known.
    """
    try:
        return Path(os.environ.get("CLSIM_CACHE") or Path.home() / ".cache" / "clsim").absolute()
    except RuntimeError:
        raise ClsimError("CLSIM_CACHE: not set, and no home folder is known; set it to a folder of your own") from None


def make_private(folder: Path) -> None:
    """Make a folder that only this user can enter, mode 0700; one that is there becomes so.

    Raises:
        OSError: it cannot be made, or it is a folder that somebody else can write to.
    """
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.stat()
    if S_IMODE(found.st_mode) & 0o077 and _is_ours(found):
        with suppress(OSError):  # a file system without modes, or one that is read-only
            folder.chmod(0o700)
            found = folder.stat()
    _refuse_foreign(found, folder)


def refuse_foreign(path: Path) -> None:
    """Raise OSError if somebody else may have written a cache file: another user owns or can write it or its folder."""
    folder = path.parent
    if folder.is_dir():
        make_private(folder)
    _refuse_foreign(path.stat(), path)


def _refuse_foreign(found: os.stat_result, path: Path) -> None:
    if not _is_ours(found):
        reason = f"belongs to user {found.st_uid}, not to you"
    elif found.st_mode & 0o022 and os.name == "posix":
        reason = f"can be written by other users (mode {S_IMODE(found.st_mode):04o})"
    else:
        return
    raise OSError(errno.EPERM, reason, os.fspath(path))


def _is_ours(found: os.stat_result) -> bool:
    """Return whether this user owns a file, or the administrator, who can write all of them."""
    return os.name != "posix" or found.st_uid in (0, os.geteuid())


def file_states(files: Iterable[Path | str]) -> NDArray[np.int64]:
    """Return inode, size, modification time and change time of each file, int64 [N, 4]; times are in nanoseconds.

    Equal states mean equal content: a write sets the change time, and no program can set it back. A file that changed
    less than `TICK` ago is waited for, so that a later write cannot leave the state that is returned here.

    Each file costs one system call: the time of a folder does not change when a file in it is edited.

    Raises:
        OSError: a file is missing, cannot be examined, or is a folder, pipe or device; `filename` names it.
    """
    stats = []
    for file in files:
        stats.append(os.stat(file))
        if not S_ISREG(stats[-1].st_mode):  # reading a pipe or a device may never end
            raise OSError(errno.EINVAL, "not a regular file", os.fspath(file))
    states = np.empty((len(stats), 4), dtype=np.int64)
    states[:, 0] = np.array(array("Q", map(_INODE, stats)), dtype=np.uint64).view(np.int64)
    states[:, 1:] = np.array(array("q", chain.from_iterable(map(_SIZE_AND_TIMES, stats)))).reshape(-1, 3)
    age = time.time_ns() - int(states[:, 3].max(initial=0))
    if 0 <= age < TICK:
        time.sleep((TICK - age) / 1e9)
    return states


def state_digest(files: Iterable[Path | str], *what: object) -> str:
    """Return the SHA-256 of path and state of files, in their order, and of `what` is made of them.

    Raises:
        OSError: as `file_states`.
    """
    paths = [os.fspath(file) for file in files]
    states = file_states(paths)
    digest = hashlib.sha256("\0".join([repr(what), *paths]).encode(errors="surrogateescape"))
    digest.update(states.tobytes())
    return digest.hexdigest()


def missing_files(files: Iterable[File]) -> list[File]:
    """Those of the files that are not there."""
    return [file for file in files if not os.path.isfile(file)]
