"""Timing of several ways to do the same work, side by side in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Timing:
    """What a way took.

    Attributes:
        seconds: median of its rounds.
        ratio: median of its ratios to the first way, round by round.
        least: its fastest round, in seconds: what else runs on a machine can only add to that.
        least_ratio: to the fastest round of the first way.
    """

    seconds: float
    ratio: float
    least: float
    least_ratio: float


def peak_memory() -> int:
    """Return the peak memory of this process in bytes; `ru_maxrss` counts what it was forked from, too."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def side_by_side(
    ways: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, Timing]:
    """Run all ways in turn, `rounds` times after one warm-up.

    The ratio of each round compares neighbours in time, so that a machine that drifts or is shared distorts it little.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, work in ways.items():
            began = clock()
            work()
            if turn:
                seconds[name].append(clock() - began)
    first = seconds[next(iter(ways))]
    return {
        name: Timing(
            statistics.median(times),
            statistics.median(t / f for t, f in zip(times, first, strict=True)),
            min(times),
            min(times) / min(first),
        )
        for name, times in seconds.items()
    }
