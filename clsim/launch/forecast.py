"""How long runs will still take: from their own epochs, else from those of runs like them."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from clsim.launch.run_state import RunState


@dataclass(frozen=True)
class Forecast:
    """Seconds left.

    Attributes:
        each: of every run that is running or waiting; None: nothing to tell it from yet.
        all: until the last one has ended, in the order they wait in; None as above, 0.0 when none is left.
    """

    each: Mapping[Path, float | None]
    all: float | None


def forecast(states: Mapping[Path, RunState]) -> Forecast:
    """Seconds left of runs by their folder `.../<strategy>/seed<k>`.

    The pace of a run that has done no epoch yet is the mean over runs of its strategy, else over all runs. Runs that
    wait are taken to start as soon as one of those that run has ended.
    """
    every = _mean(state.pace for state in states.values())
    of_strategy = {name: _mean(_paces(states, name)) for name in {folder.parent.name for folder in states}}
    each: dict[Path, float | None] = {}
    for folder, state in states.items():
        if state.status in ("running", "waiting"):
            own = state.pace if state.status == "running" else None
            each[folder] = _left(state, own or of_strategy[folder.parent.name] or every)
    running = [each[folder] for folder in each if states[folder].status == "running"]
    waiting = [each[folder] for folder in each if states[folder].status == "waiting"]
    return Forecast(each, _last_end(running, waiting))


def _left(state: RunState, pace: float | None) -> float | None:
    if pace is None:
        return None
    since = time.monotonic() - state.marked if state.status == "running" and state.marked is not None else 0.0
    return max(0.0, pace * (state.total - max(state.done, state.before)) - since)


def _last_end(running: list[float | None], waiting: list[float | None]) -> float | None:
    ends = [left for left in running if left is not None]
    lengths = [left for left in waiting if left is not None]
    if len(ends) + len(lengths) < len(running) + len(waiting):
        return None
    ends = ends or [0.0]
    heapq.heapify(ends)
    for length in lengths:
        heapq.heapreplace(ends, ends[0] + length)
    return max(ends)


def _paces(states: Mapping[Path, RunState], strategy: str) -> Iterable[float | None]:
    return (state.pace for folder, state in states.items() if folder.parent.name == strategy)


def _mean(paces: Iterable[float | None]) -> float | None:
    known = [pace for pace in paces if pace is not None]
    return sum(known) / len(known) if known else None
