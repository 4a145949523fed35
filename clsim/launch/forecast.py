"""Forecast of the seconds that runs still need, from their own epochs, else from those of similar runs."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from clsim.launch.run_state import RunState


@dataclass(frozen=True)
class Forecast:
    """Seconds left.

    Attributes:
        each: of every run that is running or waiting; None: not known yet.
        all: until the last run has ended, in the order of the waiting ones; None: not known yet; 0.0: no run is left.
    """

    each: Mapping[Path, float | None]
    all: float | None


def forecast(states: Mapping[Path, RunState], workers: int = 1) -> Forecast:
    """Forecast the seconds left of runs, by their folders `.../<strategy>/seed<k>`.

    The pace of a run that has done no epoch yet is the mean over runs of its strategy, else over all runs. Runs that
    wait are taken to start as soon as one of those that run has ended. What a run does once before it trains, such as
    decoding images, is in no pace and not forecast.

    Args:
        states: of the runs.
        workers: runs at a time, where none runs yet.
    """
    paces: dict[str, list[float | None]] = {}
    for folder, state in states.items():
        paces.setdefault(folder.parent.name, []).append(state.pace)
    every = _mean(chain.from_iterable(paces.values()))
    of_strategy = {name: _mean(own) for name, own in paces.items()}
    each: dict[Path, float | None] = {}
    for folder, state in states.items():
        if state.status in ("running", "waiting"):
            own = state.pace if state.status == "running" else None
            each[folder] = _seconds_left(state, own or of_strategy[folder.parent.name] or every)
    running = [each[folder] for folder in each if states[folder].status == "running"]
    waiting = [each[folder] for folder in each if states[folder].status == "waiting"]
    return Forecast(each, _last_end(running, waiting, workers))


def _seconds_left(state: RunState, pace: float | None) -> float | None:
    if pace is None:
        return None
    left = pace * (state.total - max(state.done, state.before))
    if state.status == "running" and state.trains and state.marked is not None:
        left -= time.monotonic() - state.marked
    return max(0.0, left)


def _last_end(running: list[float | None], waiting: list[float | None], workers: int) -> float | None:
    ends = [left for left in running if left is not None]
    lengths = [left for left in waiting if left is not None]
    if len(ends) + len(lengths) < len(running) + len(waiting):
        return None
    ends = ends or [0.0] * workers
    heapq.heapify(ends)
    for length in lengths:
        heapq.heapreplace(ends, ends[0] + length)
    return max(ends)


def _mean(paces: Iterable[float | None]) -> float | None:
    known = [pace for pace in paces if pace is not None]
    return sum(known) / len(known) if known else None
