"""How costs grow with rows, tasks and runs; every measurement is a process of its own, in CPU time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.timing import peak_memory  # no torch here: the peak of a plan is its own

CLASSES = 200
ROWS = (10_000, 100_000, 1_000_000)
RUNS = (100, 500)
HERDED = (10_000, 100_000)
PICKS, FEATURES = 1000, 64
OFFERED = (10_000, 100_000)
LABELLED = 80
SELECTIONS = ("herding", "rainbow", "gss", "prs", "ocdm")
TASKS = (50, 200, 500)
WIDE = (1_000_000, 600)
STREAMS: dict[str, dict[str, Any]] = {
    "overlap": {},
    "disjoint: rarest": {"stream.assignment": {"disjoint": "rarest"}},
    "blurry": {"stream.increment": None, "stream.blurry": {"tasks": 20, "disjoint": 0.5, "blurred": 0.1}},
    "repetition": {"stream.repetition": {"probability": 0.1, "images": 0.2}},
    "domains": {"stream.increment": None, "stream.domains": "domain"},
    "keep: 0.5": {"labels.visible": {"keep": 0.5}},
    "single-positive": {"labels.visible": "single-positive"},
    "domains, keep: 0.5": {"stream.increment": None, "stream.domains": "domain", "labels.visible": {"keep": 0.5}},
    "noise": {"labels.noise": {"false_negative": 0.1}},
}
WIDE_HEADINGS = ("stream", "plan, hashes and preview (CPU s)", "peak MB")
PLAN_HEADINGS = ("rows", "from the table (CPU s)", "peak MB", "from the cache (CPU s)", "peak MB")
RUN_HEADINGS = ("finished runs", "compare (CPU s)", "report (CPU s)", "peak MB of the report")
SELECTION_HEADINGS = ("selection", *(heading for rows in OFFERED for heading in (f"{rows:,} rows (CPU s)", "peak MB")))
HERDING_HEADINGS = ("rows", f"{PICKS} picks (CPU s)", "peak MB")


def plans() -> list[tuple[str, ...]]:
    """Return rows of PLAN_HEADINGS: plan, its hash and that of the labels, of a table with a list of classes."""
    found: list[tuple[str, ...]] = []
    for rows in ROWS:
        with tempfile.TemporaryDirectory() as home:
            _write_table(Path(home, "images.csv"), rows)
            cold, warm = (_apart("plan", home) for _ in range(2))
        times = [(f"{one['seconds']:.2f}", f"{one['peak'] / 2**20:.0f}") for one in (cold, warm)]
        found.append((f"{rows:,}", *times[0], *times[1]))
    return found


def wide_plans() -> list[tuple[str, ...]]:
    """Return rows of WIDE_HEADINGS: plans of many images by kind of stream, from the cache but the first."""
    found: list[tuple[str, ...]] = []
    with tempfile.TemporaryDirectory() as home:
        _write_table(Path(home, "images.csv"), *WIDE)
        for name, keys in {"overlap, from the table itself": {}, **STREAMS}.items():
            one = _apart("plan", home, json.dumps(keys), "yes")
            found.append((name, f"{one['seconds']:.1f}", f"{one['peak'] / 2**20:.0f}"))
    return found


def runs() -> list[tuple[str, ...]]:
    """Return rows of RUN_HEADINGS: runs that are there found finished, and their report."""
    from benchmarks import scale

    found: list[tuple[str, ...]] = []
    for count in RUNS:
        with tempfile.TemporaryDirectory() as home:
            parts = scale.measure(Path(home), count // scale.SEEDS, ("reuse", "report"))
        seconds = [f"{parts[name]['whole']:.1f}" for name in ("reuse", "report")]
        found.append((str(count), *seconds, f"{parts['report']['peak'] / 2**20:.0f}"))
    return found


def herding() -> list[tuple[str, ...]]:
    """Return rows of HERDING_HEADINGS."""
    found: list[tuple[str, ...]] = []
    for rows in HERDED:
        one = _apart("herd", str(rows))
        found.append((f"{rows:,}", f"{one['seconds']:.2f}", f"{one['peak'] / 2**20:.0f}"))
    return found


def selections() -> list[tuple[str, ...]]:
    """Return rows of SELECTION_HEADINGS: an empty memory takes in all rows of a task, without what a network costs."""
    found: list[tuple[str, ...]] = []
    for name in SELECTIONS:
        several = [_apart("select", name, str(rows)) for rows in OFFERED]
        cells = [(f"{one['seconds']:.2f}", f"{one['peak'] / 2**20:.0f}") for one in several]
        found.append((name, *(cell for pair in cells for cell in pair)))
    return found


def tasks() -> list[tuple[str, ...]]:
    """Return the rows of `stream_length`, of longer streams."""
    from benchmarks import stream_length

    return stream_length.measure(TASKS)


def _write_table(path: Path, rows: int, classes: int = CLASSES) -> None:
    """Write a table of images with up to three classes each, of ten domains; every tenth is a test image."""
    shown = np.random.default_rng(0).integers(0, classes, (rows, 3)).tolist()
    with path.open("w", encoding="utf-8") as file:
        file.write("path,split,labels,domain\n")
        for row, of_image in enumerate(shown):
            names = "|".join(f"c{one:03d}" for one in sorted(set(of_image)))
            file.write(f"img/{row:07d}.jpg,{'train' if row % 10 else 'test'},{names},{row % 97 % 10}\n")


def _plan(home: str, keys: str = "{}", preview: str = "no") -> None:
    os.environ["CLSIM_CACHE"] = str(Path(home, "cache"))
    from clsim.scenario import load_scenario
    from clsim.scenario.plan.description import describe

    stream = load_scenario(
        {
            "name": "growth",
            "dataset": {"name": "manifest", "file": str(Path(home, "images.csv")), "label_list": "labels"},
            "stream": {"increment": 20},
            "training": {"epochs": 1, "optimizer": {"lr": 0.1}, "model": {"name": "tiny-resnet", "image_size": 32}},
        },
        json.loads(keys),
    )
    shown = preview == "yes"
    _say(lambda: (stream.plan().sha256, stream.labels_sha256, shown and describe(stream.plan(), stream.truth())))


def _herd(rows: str) -> None:
    from clsim.training.memory.selection import HerdingSelection

    features = np.random.default_rng(0).normal(size=(int(rows), FEATURES)).astype(np.float32)
    labels = np.ones((int(rows), 1), dtype=np.float32)
    _say(lambda: HerdingSelection().rank(labels, 0, 0, PICKS, features))


def _select(name: str, rows: str) -> None:
    from clsim.scenario.plan.task_classes import TaskClasses
    from clsim.training.memory.selection import make_selection
    from clsim.training.memory.store import Budget, Memory

    n, generator = int(rows), np.random.default_rng(0)
    labels = np.zeros((n, LABELLED), dtype=np.float32)
    commonness = 1 / np.arange(1, LABELLED + 1)
    for shown in range(1, 4):  # one to three classes of each row, some common and most rare
        classes = generator.choice(LABELLED, n, p=commonness / commonness.sum())
        which = np.flatnonzero(generator.random(n) < 1 / shown)
        labels[which, classes[which]] = 1
    selection = make_selection(name, {}, "memory.selection")
    memory = Memory(Budget(total=PICKS), selection, (TaskClasses(0, LABELLED),), seed=0)
    features = generator.normal(size=(n, FEATURES)).astype(np.float32) if selection.needs_features else None
    view: Any = _AnswersGiven(generator) if selection.asks_network else None
    _say(lambda: memory.update(0, np.arange(n), labels, features, view))


class _AnswersGiven:
    """A `NetworkView` without a network."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator = generator

    def head_gradients(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.float32], ...]:
        """Return both factors of the rows' gradients."""
        errors, inputs = (self.generator.normal(size=(len(positions), width)) for width in (LABELLED, FEATURES))
        return errors.astype(np.float32), inputs.astype(np.float32)

    def augmented_logits(self, positions: NDArray[np.int64], passes: int) -> Iterator[NDArray[np.float32]]:
        """Yield the logits of each pass."""
        for _ in range(passes):
            yield self.generator.normal(size=(len(positions), LABELLED)).astype(np.float32)


def _say(work: Callable[[], object]) -> None:
    began = time.process_time()
    work()
    print(json.dumps({"seconds": time.process_time() - began, "peak": peak_memory()}))


def _apart(part: str, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.growth", part, *arguments]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


if __name__ == "__main__":
    parts: dict[str, Callable[..., None]] = {"plan": _plan, "herd": _herd, "select": _select}
    parts[sys.argv[1]](*sys.argv[2:])
