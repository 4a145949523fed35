"""Label matrices that are parsed once: kept in the cache folder until one of the files they come from changes."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clsim.data.cache import cache_folder
from clsim.files import write_atomically

FORMAT = 1
log = logging.getLogger("clsim")


def cached_labels(
    identity: object, state: str, shape: tuple[int, int], parse: Callable[[], NDArray[np.int8]]
) -> NDArray[np.int8]:
    """The matrix that `parse` makes, int8 [N, C]; read-only.

    Args:
        identity: what the labels are of (folder, split, classes); its `repr` names the cache file. A newer state takes
            the place of the older one.
        state: of the files, from `clsim.data.cache.state_digest`.
        shape: [N, C] that is expected.
        parse: called if nothing is cached, or if that is stale or damaged.
    """
    name = hashlib.sha256(repr(identity).encode()).hexdigest()[:32]
    path = cache_folder() / "labels" / f"{name}.bin"
    labels = _read(path, state, shape)
    if labels is None:
        labels = np.ascontiguousarray(parse(), dtype=np.int8)
        _write(path, state, labels)
    labels.flags.writeable = False
    return labels


def _read(path: Path, state: str, shape: tuple[int, int]) -> NDArray[np.int8] | None:
    try:
        header, checksum, content = path.read_bytes().split(b"\n", 2)
        if header != _header(state) or checksum != _checksum(content):
            return None
        labels: NDArray[np.int8] = np.load(io.BytesIO(content), allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return labels if labels.shape == shape and labels.dtype == np.int8 else None


def _write(path: Path, state: str, labels: NDArray[np.int8]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, labels)
    content = buffer.getvalue()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, b"\n".join([_header(state), _checksum(content), content]))
    except OSError as error:  # DECIDED: labels were read; a cache that cannot be written costs time, not the run
        log.warning("labels are not cached: %s: %s", path, error.strerror)


def _header(state: str) -> bytes:
    return f"clsim labels {FORMAT} {state}".encode()


def _checksum(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()
