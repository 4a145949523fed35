"""What a process of its own for the scores costs: wall time of whole runs with it and without."""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

HEADINGS = (
    *("run", "one process (s)", "CPU", "two processes (s)", "CPU that trains", "CPU that scores"),
    *("ratio", "ratio of the fastest"),
)
ROUNDS = 3
RUNS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "finetune, 2 tasks of 1 epoch, 60 images": (
        "finetune",
        {"dataset.train": 60, "dataset.test": 40, "stream.increment": 5, "training.epochs": 1},
    ),
    "er, 5 tasks of 2 epochs, 400 images": ("er", {"dataset.train": 400, "dataset.test": 300, "training.epochs": 2}),
    "the same, scored after each epoch": (
        "er",
        {"dataset.train": 400, "dataset.test": 300, "training.epochs": 2, "evaluation.every": "epoch"},
    ),
}


def measure() -> list[tuple[str, ...]]:
    """Return rows of HEADINGS: medians, wall time and CPU seconds; ratios are of wall times."""
    rows: list[tuple[str, ...]] = []
    for name, (strategy, overrides) in RUNS.items():
        carry_out(strategy, overrides, apart=True)  # imports and caches
        ways = [partial(carry_out, strategy, overrides, apart) for apart in (False, True)]
        found = [[seconds(way) for way in ways] for _ in range(ROUNDS)]
        walls, trains, scores = np.array(found).transpose(2, 1, 0)  # [way, round] each
        median = partial(np.median, axis=-1)
        one, two = median(walls)
        cells = one, median(trains)[0], two, median(trains)[1], median(scores)[1]
        ratios = np.median(walls[1] / walls[0]), walls[1].min() / walls[0].min()
        rows.append((name, *(f"{cell:.2f}" for cell in (*cells, *ratios))))
    return rows


def seconds(work: Callable[[], object]) -> tuple[float, float, float]:
    """Return wall time, CPU seconds of this process, and those of its children, that some work takes."""
    wall, own, children = time.perf_counter(), time.process_time(), _of_children()
    work()
    return time.perf_counter() - wall, time.process_time() - own, _of_children() - children


def _of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def carry_out(strategy: str, overrides: Mapping[str, Any], apart: bool) -> None:
    """Carry out a run as a comparison does, with one thread.

    Args:
        apart: score it in a process of its own.
    """
    from clsim.running.execution import execute
    from clsim.running.prepared_run import prepare
    from clsim.running.run_spec import RunSpec
    from clsim.running.scoring import starting
    from clsim.scenario import load_scenario

    suited: Callable[[bool], None] = partial(setattr, starting, "SUITED")
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "run"
        prepare(folder, load_scenario("digits-b0c2", dict(overrides)), RunSpec(strategy, "run", 0, "cpu", {}), 1)
        suited(apart)
        try:
            execute(folder)
        finally:
            suited(True)
