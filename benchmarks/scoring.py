"""What a process of its own for the scores costs: wall time of whole runs with it and without."""

from __future__ import annotations

import gc
import resource
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.studies.study import VOC_MINI, VOC_THERE
from clsim.report.intervals import half_width

HEADINGS = (
    *("run", "one process (s)", "CPU", "two processes (s)", "CPU that trains", "CPU that scores"),
    *("rounds", "ratio (95 %)", "ratio of the fastest"),
)


class Run(NamedTuple):
    """A run to be measured: scenario, strategy and overrides, and how often it is carried out in each way."""

    scenario: str | Path
    strategy: str
    overrides: Mapping[str, Any]
    rounds: int


FEW_IMAGES = {"dataset.train": 400, "dataset.test": 300, "training.epochs": 2}
RUNS: dict[str, Run] = {
    "finetune, 2 tasks of 1 epoch, 60 images": Run(
        "digits-b0c2",
        "finetune",
        {"dataset.train": 60, "dataset.test": 40, "stream.increment": 5, "training.epochs": 1},
        9,
    ),
    "er, 5 tasks of 2 epochs, 400 images": Run("digits-b0c2", "er", FEW_IMAGES, 9),
    "the same, scored after each epoch": Run("digits-b0c2", "er", {**FEW_IMAGES, "evaluation.every": "epoch"}, 7),
    "er, digits-b0c2 as shipped": Run("digits-b0c2", "er", {}, 4),
}
if VOC_THERE:
    RUNS["er, voc-mini, frozen features"] = Run(VOC_MINI, "er", {}, 6)


def measure() -> list[tuple[str, ...]]:
    """Return rows of HEADINGS: medians, wall time and CPU seconds; ratios are of wall times."""
    rows: list[tuple[str, ...]] = []
    for name, run in RUNS.items():
        carry_out(run, apart=True)  # imports and caches
        gc.collect()
        gc.freeze()  # as the process has that starts the runs of a comparison
        found = [_both_ways(run, number) for number in range(run.rounds)]
        walls, trains, scores = np.array(found).transpose(2, 1, 0)  # [way, round] each
        median = partial(np.median, axis=-1)
        one, two = median(walls)
        cells = one, median(trains)[0], two, median(trains)[1], median(scores)[1]
        fastest = walls[1].min() / walls[0].min()
        shown = (f"{cell:.2f}" for cell in cells)
        rows.append((name, *shown, str(run.rounds), interval(walls[1] / walls[0]), f"{fastest:.2f}"))
    return rows


def _both_ways(run: Run, number: int) -> list[tuple[float, float, float]]:
    """Return what a run takes in one process and in two, one right after the other; the first in turn."""
    found = {apart: seconds(partial(carry_out, run, apart)) for apart in (number % 2 == 1, number % 2 == 0)}
    return [found[False], found[True]]


def interval(ratios: NDArray[np.float64]) -> str:
    """Return the geometric mean of paired ratios with its confidence interval.

    Example:
        >>> interval(np.array([1.0, 1.02, 0.98]))
        '1.00 (0.95 to 1.05)'
    """
    logs = np.log(ratios)
    middle, half = logs.mean(), half_width(logs)
    least, mean, most = np.exp([middle - half, middle, middle + half])
    return f"{mean:.2f} ({least:.2f} to {most:.2f})"


def seconds(work: Callable[[], object]) -> tuple[float, float, float]:
    """Return wall time, CPU seconds of this process, and those of its children, that some work takes."""
    wall, own, children = time.perf_counter(), time.process_time(), _of_children()
    work()
    return time.perf_counter() - wall, time.process_time() - own, _of_children() - children


def _of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def carry_out(run: Run, apart: bool) -> None:
    """Carry out a run as a comparison does, with one thread.

    Args:
        run: which.
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
        stream = load_scenario(run.scenario, dict(run.overrides))
        prepare(folder, stream, RunSpec(run.strategy, "run", 0, "cpu", {}), 1)
        suited(apart)
        try:
            execute(folder)
        finally:
            suited(True)
