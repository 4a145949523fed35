"""Labels parsed once: arrays in the cache folder that last as long as the files they came from stay as they are.

COCO's annotation file takes seconds and gigabytes to parse, and a plan needs only the matrix in it. An entry carries
the state of its files, and is made again when that has changed or when the entry cannot be read.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clsim.data.cache import cache_folder, state_digest
from clsim.files import write_atomically

Arrays = dict[str, NDArray[Any]]

FORMAT = 1
_STATE = "state of the files"
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
    entry = cache_folder() / "labels" / f"{hashlib.sha256(repr(identity).encode()).hexdigest()[:32]}.npz"
    state = state_digest(paths, "labels", FORMAT)
    arrays = _read(entry, state)
    if arrays is None:
        arrays = parse()
        _write(entry, state, arrays)  # under the state before parsing: stale at once if a file changed meanwhile
    for array in arrays.values():
        array.flags.writeable = False
    return arrays


def pack_texts(texts: Sequence[str]) -> NDArray[np.uint8]:
    """Texts without a NUL as one array of UTF-8 bytes; NumPy's own texts are as wide as the longest of them."""
    return np.frombuffer(("\0".join(texts) + "\0" * bool(texts)).encode(), dtype=np.uint8).copy()


def unpack_texts(packed: NDArray[np.uint8]) -> list[str]:
    """The texts `pack_texts` was given."""
    return packed.tobytes().decode().split("\0")[:-1]


def _read(entry: Path, state: str) -> Arrays | None:
    """The arrays of an entry, None if there is none, it is stale or damaged; the zip inside has checksums."""
    try:
        with np.load(entry, allow_pickle=False) as content:
            if content[_STATE].tobytes().decode() != state:
                return None
            return {name: content[name] for name in content.files if name != _STATE}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError):
        return None


def _write(entry: Path, state: str, arrays: Arrays) -> None:
    content = io.BytesIO()
    named: dict[str, Any] = {_STATE: np.frombuffer(state.encode(), dtype=np.uint8), **arrays}
    np.savez(content, **named)
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(entry, content.getvalue())
    except OSError as error:
        log.warning("labels are not cached: %s: %s", entry, error.strerror or error)
