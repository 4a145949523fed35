"""Labels parsed once: arrays in the cache folder that last as long as the files they came from stay as they are.

COCO's annotation file takes seconds and gigabytes to parse, and a plan needs only the matrix in it. An entry carries
the state of its files, and is made again when that has changed or when the entry is damaged.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clsim.data.cache import cache_folder, state_digest
from clsim.data.checked_files import Arrays, read_arrays, write_arrays

FORMAT = 2  # of an entry; part of its name, because earlier ones have no checksum
_STATE = "state of the files"
_TEXTS_AT_ONCE = 4096  # packed; a list of a million would be in memory three times over
log = logging.getLogger("clsim")


def cached_labels(identity: object, files: Sequence[Path | str], parse: Callable[[], Arrays]) -> Arrays:
    """The arrays `parse` makes of `files`, from the cache if they were parsed before; read-only.

    An entry is replaced, not added, when its files change, so the cache does not grow by editing.
    DECIDED: a cache that cannot be written costs time and a warning, not the run.

    Args:
        identity: what the labels are of: folder, split, options, version of the parser. Its `repr` names the entry and
            must be the same in every process.
        files: every file that `parse` reads. Of thousands give texts: a Path takes longer to make than its file to ask.
        parse: returns named arrays without Python objects; texts go through `pack_texts`.

    Raises:
        OSError: one of the files is not there; `filename` names it.
    """
    paths = [path if path[:1] == "/" else os.path.abspath(path) for path in (os.fspath(file) for file in files)]
    entry = cache_folder() / "labels" / f"{hashlib.sha256(repr((FORMAT, identity)).encode()).hexdigest()[:32]}.npz"
    state = state_digest(paths, "labels")
    arrays = _read(entry, state)
    if arrays is None:
        arrays = parse()
        _write(entry, state, arrays)  # under the state before parsing: stale at once if a file changed meanwhile
    for array in arrays.values():
        array.flags.writeable = False
    return arrays


def pack_texts(texts: Sequence[str]) -> NDArray[np.uint8]:
    """Texts without a NUL as one array of UTF-8 bytes; NumPy's own texts are as wide as the longest of them."""
    packed = bytearray()
    for at in range(0, len(texts), _TEXTS_AT_ONCE):
        packed += "".join(f"{text}\0" for text in texts[at : at + _TEXTS_AT_ONCE]).encode()
    return np.frombuffer(packed, dtype=np.uint8)


def unpack_texts(packed: NDArray[np.uint8]) -> list[str]:
    """The texts `pack_texts` was given."""
    return packed.tobytes().decode().split("\0")[:-1]


def _read(entry: Path, state: str) -> Arrays | None:
    """Return the arrays of an entry; None if there is none, or it is stale or damaged."""
    arrays = read_arrays(entry)
    if arrays is None or arrays.pop(_STATE, np.empty(0)).tobytes() != state.encode():
        return None
    return arrays


def _write(entry: Path, state: str, arrays: Arrays) -> None:
    try:
        write_arrays(entry, {_STATE: np.frombuffer(state.encode(), dtype=np.uint8), **arrays})
    except OSError as error:
        log.warning("labels are not cached: %s: %s", error.filename or entry, error.strerror or error)
