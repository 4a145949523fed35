"""What watching a run costs: the share of its CPU time in metrics, curves, pictures and tables, and their bytes."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.workload import RandomSource, scenario

STREAMS = ((10, 5), (80, 8), (200, 100), (1000, 10))
"""Classes and tasks."""
STRATEGY = "rebll"
HEADINGS = (
    *("classes", "tasks", "run (CPU s)", "watching (CPU s)", "share", "most of it"),
    *("metrics (CPU s)", "events (kB)", "logged values (kB)", "other files (kB)"),
)


def measure() -> list[tuple[str, ...]]:
    """Rows of HEADINGS; each stream runs in a process of its own."""
    rows = []
    for stream in STREAMS:
        command = [sys.executable, "-m", "benchmarks.watching", *map(str, stream)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        rows.append(row(*stream, json.loads(output.splitlines()[-1])))
    return rows


def row(classes: int, tasks: int, found: dict[str, Any]) -> tuple[str, ...]:
    """Return a row of HEADINGS from what `run` measured."""
    watching = found["loggers"]
    spent, total = sum(watching.values()), found["total"]
    most = max(watching, key=lambda name: float(watching[name]))
    return (
        *(str(classes), str(tasks), f"{total:.1f}", f"{spent:.2f}", f"{spent / total:.1%}"),
        f"{most} {watching[most]:.2f}",
        f"{found['metrics']:.2f}",
        *(f"{found[part] / 1e3:,.0f}" for part in ("events", "logged", "files")),
    )


def run(classes: int, tasks: int, per_task: int = 256, test: int = 1000) -> dict[str, Any]:
    """Train STRATEGY with a small network through a stream of noise, with every logger that a run has by default.

    Args:
        per_task: rows of each task, about.
        test: evaluation images.

    Returns:
        total: CPU seconds from the first step to the last checkpointable state, without imports.
        loggers: class of the logger -> its CPU seconds, without the metrics that it is given.
        metrics: CPU seconds of all metrics.
        events, logged, files: bytes of the event file, of all values in `metrics.jsonl` and `class_values.*`, and of
            everything else that the loggers have written.
    """
    import torch

    from clsim.evaluation.history import History
    from clsim.evaluation.loggers import TimingFile
    from clsim.evaluation.plugins import EpochLosses
    from clsim.running.assembly import build_template
    from clsim.running.observers import folder_loggers
    from clsim.running.run_folder import RunFolder
    from clsim.running.scoring.desk import Desk, ScorerHere
    from clsim.training.composition import Composition

    torch.set_num_threads(1)
    stream = scenario(
        RandomSource(classes, tasks * per_task // 2, test),
        stream__increment=classes // tasks,
        training__epochs=2,
        training__batch_size=32,
        training__model__image_size=16,
        memory__budget={"total": max(512, classes)},
    )
    plan = stream.plan()
    history = History(plan)
    with tempfile.TemporaryDirectory() as folder:
        files = RunFolder(Path(folder))
        timing = TimingFile(files.timing)
        desk = Desk(history, folder_loggers(files, stream, history, {}), stream.truth()[plan.row_samples])
        template = build_template(
            stream,
            Composition(STRATEGY),
            plan,
            seed=0,
            device="cpu",
            loggers=[timing],
            scorer=ScorerHere(desk),  # in this process, whose time is measured
        )
        losses = [metric for metric in template.evaluator.metrics if isinstance(metric, EpochLosses)]
        began = time.process_time()
        with timed([*desk.loggers, timing]) as logging, timed([*losses, desk.scores, *desk.labels]) as metrics:
            template.learn(template.benchmark.train_stream, template.benchmark.evaluation_stream)
        total = time.process_time() - began
        sizes = {path: path.stat().st_size for path in Path(folder).iterdir()}
    events = sizes.pop(files.events)
    logged = sum(sizes.pop(path) for path in (files.metrics, files.class_values, files.about_class_values))
    return {
        "total": total,
        "loggers": dict(logging),
        "metrics": sum(metrics.values()),
        "events": events,
        "logged": logged,
        "files": sum(sizes.values()),
    }


@contextmanager
def timed(watchers: Iterable[Any]) -> Iterator[dict[str, float]]:
    """Count the CPU seconds inside the public methods of each object, by the name of its class."""
    seconds: defaultdict[str, float] = defaultdict(float)
    inside: list[str] = []  # a method may call another

    def counted(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            if inside:
                return method(*arguments, **keywords)
            inside.append(name)
            began = time.process_time()
            try:
                return method(*arguments, **keywords)
            finally:
                seconds[name] += time.process_time() - began
                inside.pop()

        return call

    for watcher in watchers:
        kind = type(watcher)
        for name in dir(kind):
            if name.startswith(("before_", "after_", "log_")) and callable(getattr(kind, name)):
                setattr(watcher, name, counted(kind.__name__, getattr(watcher, name)))
    yield seconds


if __name__ == "__main__":
    classes, tasks = map(int, sys.argv[1:3])
    found = run(classes, tasks)
    print(json.dumps(found, indent=1) if "-v" in sys.argv else json.dumps(found))
