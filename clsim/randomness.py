"""Every random choice of clsim, derived from (seed, purpose, position).

A choice is made from raw 64-bit integers of the counter-based generator Philox, keyed by a hash of the seed and of
what the choice is for. So it depends on nothing that ran before, and on no NumPy distribution whose stream may change
between versions. Orders come from stable sorts of these integers.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_MOST_AT_ONCE = 2**20
_WORTH_A_JUMP = 512  # numbers; fewer are sooner drawn and dropped
_BLOCK = 4  # numbers for each value of Philox's counter


class _PerThread(threading.local):
    """A generator that is set for each draw, because making one takes twice as long as a draw."""

    def __init__(self) -> None:
        self.philox = np.random.Philox(key=0)


_PER_THREAD = _PerThread()
_BEGINNING = _PER_THREAD.philox.state


def _digest(seed: int, *purpose: object) -> bytes:
    if not all(isinstance(part, str | int) for part in purpose):  # the repr of anything else may change
        raise TypeError(f"a purpose is made of strings and Python integers, given {purpose!r}")
    return hashlib.sha256(repr((int(seed), *purpose)).encode()).digest()


def derive_seed(seed: int, *purpose: object) -> int:
    """Return a 63-bit non-negative seed for another generator (torch, NumPy, Python).

    `purpose` is a path of strings and Python integers such as `("step", task, epoch, step)`; equal paths give equal
    seeds on every machine, different paths independent ones.

    Example:
        >>> derive_seed(0, "step", 1) == derive_seed(0, "step", 1)
        True
    """
    return int.from_bytes(_digest(seed, *purpose)[:8], "little") >> 1


def raw_integers(n: int, seed: int, *purpose: object) -> NDArray[np.uint64]:
    """Return `n` uniform 64-bit integers, uint64 [n]. A longer draw starts with the shorter one."""
    key = np.frombuffer(_digest(seed, *purpose)[:16], dtype="<u8")
    philox, state = _PER_THREAD.philox, _BEGINNING.copy()
    state["state"] = {"counter": _BEGINNING["state"]["counter"], "key": key}
    philox.state = state
    return np.asarray(philox.random_raw(n), dtype=np.uint64)


def uniforms(n: int, seed: int, *purpose: object) -> NDArray[np.float64]:
    """Return `n` uniform numbers in [0, 1), float64 [n], exact multiples of 2^-53.

    Example:
        >>> bool((uniforms(2, 0, "mine", 7) == uniforms(5, 0, "mine", 7)[:2]).all())
        True
    """
    return _as_uniforms(raw_integers(n, seed, *purpose))


def _as_uniforms(integers: NDArray[np.uint64]) -> NDArray[np.float64]:
    return (integers >> np.uint64(11)).astype(np.float64) * 2.0**-53


def raw_rows(
    rows: NDArray[np.int64], width: int, seed: int, *purpose: object
) -> Iterator[tuple[slice, NDArray[np.uint64]]]:
    """Yield `raw_integers(n * width, seed, *purpose).reshape(n, width)[rows]`, a part of the rows at a time.

    The whole matrix is never in memory, and wide gaps between the rows are not drawn.

    Args:
        rows: int64 [m], ascending, each once.

    Yields:
        which of the m rows, and their integers, uint64 [k, width].
    """
    generator = np.random.Philox(key=int.from_bytes(_digest(seed, *purpose)[:16], "little"))
    at_once = max(1, _MOST_AT_ONCE // max(width, 1))
    position = 0
    for start in range(0, len(rows), at_once):
        wanted = rows[start : start + at_once]
        drawn = np.empty((len(wanted), width), dtype=np.uint64)
        apart = (np.diff(wanted) - 1) * width >= _WORTH_A_JUMP
        ends = np.flatnonzero(apart | (np.diff(wanted // at_once) > 0)) + 1
        for first, last in zip([0, *ends.tolist()], [*ends.tolist(), len(wanted)], strict=True):
            run = wanted[first:last] - wanted[first]
            target = int(wanted[first]) * width
            _skip(generator, position, target)
            position = target + (int(run[-1]) + 1) * width
            drawn[first:last] = generator.random_raw(position - target).reshape(-1, width)[run]
        yield slice(start, start + len(wanted)), drawn


def _skip(generator: np.random.Philox, position: int, target: int) -> None:
    """Let a generator that has drawn `position` numbers go on as if it had drawn `target`, which is no less."""
    if (blocks := target // _BLOCK - -(-position // _BLOCK)) > 0:
        generator.advance(blocks)  # by whole blocks, from the first that is not begun
        position = target - target % _BLOCK
    generator.random_raw(target - position)


def uniform_rows(
    rows: NDArray[np.int64], width: int, seed: int, *purpose: object
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Yield `uniforms(n * width, seed, *purpose).reshape(n, width)[rows]` as `raw_rows` yields integers."""
    for part, drawn in raw_rows(rows, width, seed, *purpose):
        yield part, _as_uniforms(drawn)


def permutation(n: int, seed: int, *purpose: object) -> NDArray[np.int64]:
    """Return a uniform random order of range(n), int64 [n].

    Example:
        >>> sorted(permutation(4, 0, "order").tolist())
        [0, 1, 2, 3]
    """
    return np.argsort(raw_integers(n, seed, *purpose), kind="stable").astype(np.int64)
