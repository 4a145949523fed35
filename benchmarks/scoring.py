"""What a process of its own for the scores costs: wall time of whole runs with it and without."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.timing import side_by_side

HEADINGS = ("run", "in one process (s)", "in two (s)", "ratio", "ratio of the fastest")
ROUNDS = 5
RUNS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "finetune, 2 tasks of 1 epoch, 60 images": (
        "finetune",
        {"dataset.train": 60, "dataset.test": 40, "stream.increment": 5, "training.epochs": 1},
    ),
    "er, 5 tasks of 2 epochs, 400 images": ("er", {"dataset.train": 400, "dataset.test": 300, "training.epochs": 2}),
    "rebll, 5 tasks of 2 epochs, 400 images, scored after each epoch": (
        "rebll",
        {"dataset.train": 400, "dataset.test": 300, "training.epochs": 2, "evaluation.every": "epoch"},
    ),
}


def measure() -> list[tuple[str, ...]]:
    """Return rows of HEADINGS."""
    rows: list[tuple[str, ...]] = []
    for name, (strategy, overrides) in RUNS.items():
        ways = {way: partial(carry_out, strategy, overrides, way == "two") for way in ("one", "two")}
        found = side_by_side(ways, ROUNDS)
        one, two = found["one"], found["two"]
        rows.append((name, f"{one.seconds:.2f}", f"{two.seconds:.2f}", f"{two.ratio:.2f}", f"{two.least_ratio:.2f}"))
    return rows


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
