"""SHA-256 of the files a run reads, computed once per state of a file and kept in the cache folder."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clsim.cores import usable_cores
from clsim.data.cache import cache_folder, file_states
from clsim.data.checked_files import Arrays, read_arrays, write_arrays
from clsim.opening import regular
from clsim.preparation import tell

BATCH = 64
"""Files that a thread hashes in one go."""

log = logging.getLogger("clsim")

_known: dict[Path, Arrays] = {}
"""Cache files of this process, so that a folder that cannot be written costs one hashing per process, not several."""


def content_hashes(files: Sequence[Path | str]) -> NDArray[np.uint8]:
    """Return the SHA-256 of each file, uint8 [N, 32], read-only.

    A file is read only if its state (see `file_states`) is not the one it was hashed in; otherwise it costs a system
    call. There is one cache file for each list of paths. A cache that cannot be written is a warning, not an error.

    DECIDED: SHA-256, because it is known by name elsewhere (downloads, weights) and is no slower than BLAKE2 where
    processors have instructions for it: 1.9 GB/s per core against 1.3 (measured on an AMD EPYC), so that a first start
    on the 900 MB of VOC2007 costs about a second.

    Raises:
        OSError: a file is missing or cannot be read; `filename` names it.
    """
    paths = [os.path.abspath(file) for file in files]
    name = hashlib.sha256("\0".join(paths).encode(errors="surrogateescape")).hexdigest()[:32]
    entry = cache_folder() / "hashes" / f"{name}.npz"
    states = file_states(paths)
    before = _known.get(entry) or read_arrays(entry) or {}
    hashes = np.zeros((len(paths), 32), dtype=np.uint8)
    unknown = np.ones(len(paths), dtype=np.bool_)
    if before:
        unknown = (before["states"] != states).any(axis=1)
        hashes[~unknown] = before["hashes"][~unknown]
    rows = np.flatnonzero(unknown)
    if len(rows):
        hashes[rows] = _hash_files([paths[row] for row in rows.tolist()])
    hashes.flags.writeable = False
    _known[entry] = {"states": states, "hashes": hashes}
    if len(rows):
        try:
            write_arrays(entry, _known[entry])  # with the states before reading: a file that has changed since is stale
        except OSError as error:
            log.warning("hashes of files are not cached: %s: %s", error.filename or entry, error.strerror or error)
    return hashes


def content_sha256(file: Path | str) -> str:
    """Return the SHA-256 of one file, in hexadecimal; see `content_hashes`."""
    return content_hashes([file])[0].tobytes().hex()


def _hash_files(paths: Sequence[str]) -> NDArray[np.uint8]:
    if len(paths) > 1:
        log.info("hashing %d files, once", len(paths))
    batches = [paths[first : first + BATCH] for first in range(0, len(paths), BATCH)]
    digests = []
    with ThreadPoolExecutor(usable_cores()) as pool:  # hashlib works outside the interpreter lock
        for batch in pool.map(lambda batch: list(map(file_sha256, batch)), batches):
            digests += batch
            if len(paths) > 1:
                tell("hashing", len(digests), len(paths))
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(len(paths), 32)


def file_sha256(path: str) -> bytes:
    """Read a file and return its SHA-256, 32 bytes."""
    with open(path, "rb", opener=regular) as file:
        return hashlib.file_digest(file, "sha256").digest()
