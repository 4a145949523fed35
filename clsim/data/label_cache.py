"""Labels parsed once: a matrix on disk that lasts as long as the files it came from stay as they are.

COCO's annotation file takes seconds and gigabytes to parse, a plan only needs the matrix in it. An entry belongs to a
list of files and the options they were parsed with; it carries the size and the modification time of each file, and
is made again when one of them differs or when the entry cannot be read.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clsim.files import write_atomically

Arrays = dict[str, NDArray[Any]]

CACHE_FORMAT = 1
_STATE = "state of the files"


def cache_folder() -> Path:
    """Where clsim keeps what it can make again: the environment's CLSIM_CACHE, else ~/.cache/clsim."""
    return Path(os.environ.get("CLSIM_CACHE") or "~/.cache/clsim").expanduser()


def cached_labels(key_parts: Sequence[object], files: Sequence[Path], parse: Callable[[], Arrays]) -> Mapping[str, Any]:
    """The arrays `parse` makes of `files`, from the cache if they were parsed before; read-only.

    An entry is replaced, not added, when its files change, so the cache does not grow by editing. A cache that cannot
    be written costs time and a warning, nothing else.

    Args:
        key_parts: what else decides the result: the name of the source, its parser's version, its options. Their
            `repr` must be the same in every process.
        files: every file that `parse` reads.
        parse: returns named arrays without Python objects; texts go through `pack_texts`.

    Raises:
        OSError: one of the files is not there.
    """
    paths = [file.resolve() for file in files]
    key = repr((CACHE_FORMAT, list(key_parts), [str(path) for path in paths]))
    entry = cache_folder() / "labels" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"
    state = _state(paths)
    arrays = _read(entry, state)
    if arrays is None:
        arrays = parse()
        if _state(paths) == state:  # else a file was replaced meanwhile, and nobody knows which one was parsed
            _write(entry, state, arrays)
    for array in arrays.values():
        array.flags.writeable = False
    return arrays


def pack_texts(texts: Sequence[str]) -> NDArray[np.uint8]:
    """Texts without a NUL as one array of UTF-8 bytes; NumPy's own texts are as wide as the longest of them."""
    return np.frombuffer(("\0".join(texts) + "\0" * bool(texts)).encode(), dtype=np.uint8).copy()


def unpack_texts(packed: NDArray[np.uint8]) -> list[str]:
    """The texts `pack_texts` was given."""
    return packed.tobytes().decode().split("\0")[:-1]


def _state(paths: Sequence[Path]) -> str:
    return json.dumps([(file.st_size, file.st_mtime_ns) for file in map(os.stat, paths)])


def _read(entry: Path, state: str) -> Arrays | None:
    """The arrays of an entry, None if there is none, it is stale or damaged; the zip inside has checksums."""
    try:
        with np.load(entry, allow_pickle=False) as content:
            if content[_STATE].tobytes().decode() != state:
                return None
            return {name: content[name] for name in content.files if name != _STATE}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError):
        return None


def _write(entry: Path, state: str, arrays: Arrays) -> None:
    content = io.BytesIO()
    named: dict[str, Any] = {_STATE: np.frombuffer(state.encode(), dtype=np.uint8), **arrays}
    np.savez(content, **named)
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(entry, content.getvalue())
    except OSError as error:
        warnings.warn(f"{entry}: labels are not cached: {error.strerror or error}", stacklevel=3)
