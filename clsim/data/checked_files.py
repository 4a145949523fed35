"""Files of a cache with checksums: what was damaged on the disk is never read as if it were whole.

Checksums are against disks and copies. Against other users stands `clsim.data.cache.refuse_foreign`: a file that one of
them may have written is as good as none.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from clsim.cores import usable_cores
from clsim.data.cache import make_private, refuse_foreign
from clsim.files import written_whole

Arrays = dict[str, NDArray[Any]]

DISAGREES = "its content does not agree with its checksums"
_ABSENT = (FileNotFoundError, NotADirectoryError)

_CHUNK = 2**20

log = logging.getLogger("clsim")


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write named arrays without Python objects to one file, atomically; its folder is made, both for this user alone.

    It is NumPy's npz, followed by a checksum of all its bytes: those of a zip archive leave out its directory.

    Raises:
        OSError: the file or its folder cannot be written.
    """
    with written_private(path) as file:
        summed = _Summed(file)
        np.savez(summed, **arrays)  # type: ignore[arg-type]
        file.write(packed_checksums([summed.checksum]))


class _Summed(io.RawIOBase):
    """Write to a file without going back in it, and count the checksum: an archive is never in memory as a whole."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.checksum = 0

    def writable(self) -> bool:
        return True

    def write(self, block: Any) -> int:
        self.checksum = zlib.crc32(block, self.checksum)
        return self.file.write(block)


@contextmanager
def written_private(path: Path) -> Iterator[BinaryIO]:
    """Open a file of a cache to write, as `written_whole`; nobody else can read it, and its folder is made.

    Raises:
        OSError: the file or its folder cannot be written, or somebody else can write to the folder.
    """
    make_private(path.parent)
    with written_whole(path) as file:
        os.fchmod(file.fileno(), 0o600)
        yield file


def read_arrays(path: Path) -> Arrays | None:
    """Read what `write_arrays` wrote.

    Returns:
        None if the file is not there; or if it is damaged or not to be trusted, which is a warning in the log.
    """
    try:
        refuse_foreign(path)
        with path.open("rb") as file:  # never in memory as a whole beside its arrays
            found = 0
            for _ in range(max(0, os.fstat(file.fileno()).st_size - 4) // _CHUNK):
                found = zlib.crc32(file.read(_CHUNK), found)
            rest = file.read()
            if packed_checksums([zlib.crc32(rest[:-4], found)]) != rest[-4:]:
                raise ValueError(DISAGREES)
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                return dict(arrays)
    except _ABSENT:
        return None
    except (OSError, ValueError) as error:
        _warn(path, error)
        return None


def checksum(block: Any) -> int:
    """Return the CRC-32 of bytes, or of an array.

    DECIDED: CRC-32, because a cache is to be protected from disks and copies, not from people, and because it is
    several times faster than SHA-256.
    """
    return zlib.crc32(block)


def packed_checksums(checksums: Iterable[int]) -> bytes:
    """Return what follows the array in a file that `map_checked` reads: one checksum per block of rows."""
    return np.fromiter(checksums, dtype="<u4").tobytes()


def write_checked(file: Any, array: NDArray[Any], rows_per_checksum: int) -> None:
    """Write an array [N, ...] in NumPy's format, followed by its checksums, into an open binary file."""
    array = np.ascontiguousarray(array)
    np.save(file, array, allow_pickle=False)
    file.write(packed_checksums(checksum(block) for block in _blocks(array, rows_per_checksum)))


def map_checked(
    path: Path, shape: tuple[int | None, ...], dtype: DTypeLike, rows_per_checksum: int
) -> NDArray[Any] | None:
    """Map an array into memory, read-only, after all of it was compared with its checksums.

    DECIDED: everything is read at once, not each row when it is first used: it takes 0.3 s for the 1.5 GB of VOC2007 at
    224 px with two cores, a run reads the same pages anyway, and what is wrong is found before training begins.

    Args:
        path: a file in NumPy's format, followed by `packed_checksums`.
        shape: what the array must have; None: any length of this axis.
        dtype: what the array must have.
        rows_per_checksum: rows of a block.

    Returns:
        None if the file is not there; or if it is damaged or not to be trusted, which is a warning in the log.
    """
    try:
        refuse_foreign(path)
        array = _mapped(path)
        fits = len(array.shape) == len(shape) and all(
            wanted in (None, given) for wanted, given in zip(shape, array.shape, strict=True)
        )
        if not fits or array.dtype != dtype or not array.flags.c_contiguous:
            raise ValueError(f"holds {array.dtype} {array.shape}")
        block = rows_per_checksum * (array.nbytes // len(array))
        if not _matches_checksums(path, array.offset, array.offset + array.nbytes, block):
            raise ValueError(DISAGREES)
    except _ABSENT:
        return None
    except (OSError, ValueError) as error:
        _warn(path, error)
        return None
    return array


def _mapped(path: Path) -> np.memmap[Any, Any]:
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except OSError:
        raise
    except Exception as error:  # the parser of NumPy's header answers damaged bytes with almost any kind
        raise ValueError(error) from None


def _matches_checksums(path: Path, start: int, stop: int, block: int) -> bool:
    """Compare the bytes from start to stop with the checksums behind them.

    They are read, not mapped: a disk that fails is then an error, not the end of the process.
    """
    with path.open("rb") as file, ThreadPoolExecutor(usable_cores()) as pool:
        parts = ((min(block, stop - at), at) for at in range(start, stop, block))
        found = packed_checksums(pool.map(lambda part: checksum(os.pread(file.fileno(), *part)), parts))
        return os.pread(file.fileno(), len(found) + 1, stop) == found


def _blocks(array: NDArray[Any], rows: int) -> Iterable[NDArray[Any]]:
    return (array[first : first + rows] for first in range(0, len(array), rows))


def _warn(path: Path, error: OSError | ValueError) -> None:
    if isinstance(error, OSError) and error.errno == errno.EPERM:
        log.warning("%s: not trusted, made again: %s %s", path, error.filename, error.strerror)
    else:
        log.warning("%s: damaged, thrown away and made again: %s", path, error)
