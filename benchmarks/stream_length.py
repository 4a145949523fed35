"""Time per task and memory of streams of 5, 50 and 200 tasks, with the loggers that a run has by default."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.timing import peak_memory
from benchmarks.workload import RandomSource, network, scenario

PER_TASK = 128
HEADINGS = (
    *("tasks", "train, early (ms)", "train, late (ms)", "evaluate, early (ms)", "evaluate, late (ms)"),
    *("peak MB, early", "peak MB, late"),
)


def measure(lengths: Sequence[int] = (5, 50, 200)) -> list[tuple[str, ...]]:
    """Rows of HEADINGS; each stream runs in a process of its own, so that its peak memory is its own."""
    rows = []
    for tasks in lengths:
        command = [sys.executable, "-m", "benchmarks.stream_length", str(tasks)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        rows.append(tuple(json.loads(output.splitlines()[-1])))
    return rows


def run(tasks: int) -> tuple[str, ...]:
    """Train lwf+er through a stream of two classes a task.

    Returns:
        A row of HEADINGS. Times are medians over the first and the last fifth of the tasks; evaluation includes all
        curves and pictures. Peaks are those after the first fifth and after the last task.
    """
    import torch
    from avalanche.logging import BaseLogger
    from avalanche.training.plugins import EvaluationPlugin

    from clsim.evaluation.history import History
    from clsim.evaluation.loggers import TimingFile
    from clsim.evaluation.plugins import EpochLosses, StreamScores
    from clsim.models.network import MultiLabelNet
    from clsim.running.observers import folder_loggers
    from clsim.running.run_folder import RunFolder
    from clsim.training.composition import Composition
    from clsim.training.strategy import Context
    from clsim.training.template import MultiLabelTemplate

    torch.set_num_threads(1)
    stream = scenario(
        RandomSource(2 * tasks, tasks * PER_TASK // 2, 400),
        stream__increment=2,
        training__epochs=2,
        training__batch_size=32,
        training__model__image_size=16,
        memory__budget={"total": PER_TASK},  # full after the first task, so that every task has as many steps
    )
    plan, benchmark = stream.plan(), stream.benchmark()

    def new_model() -> MultiLabelNet:
        return network("mlp", 16)

    peaks: list[int] = []

    class Peaks(BaseLogger):
        def after_eval_exp(self, strategy: Any, metric_values: list[Any], **kwargs: Any) -> None:
            peaks.append(peak_memory())  # timing.jsonl has that of the process this one was forked from, if it is more

    context = Context(stream.config, 0, tuple(task.of_classes for task in plan.tasks), benchmark.train_rows, new_model)
    with tempfile.TemporaryDirectory() as folder:
        files = RunFolder(Path(folder))
        composition, history = Composition("lwf+er"), History(plan)
        metrics: list[Any] = [EpochLosses(), StreamScores(history)]
        template = MultiLabelTemplate(
            benchmark=benchmark,
            model=network("mlp", 16),
            config=stream.config.training,
            criterion=composition.criterion(stream.config.training.loss),
            plugins=composition.plugins(context),
            evaluator=EvaluationPlugin(
                metrics, loggers=[*folder_loggers(files, stream, history, {}), TimingFile(files.timing), Peaks()]
            ),
            seed=0,
        )
        template.learn(benchmark.train_stream, benchmark.evaluation_stream)
        lines = [json.loads(line) for line in files.timing.read_text().splitlines()]
    fifth = max(1, tasks // 5)

    def median(name: str, part: list[dict[str, float]]) -> str:
        return f"{1000 * statistics.median(line[name] for line in part):.0f}"

    early, late = lines[1 : 1 + fifth], lines[-fifth:]  # the first task has neither teacher nor memory
    memory = [f"{peaks[at] / 2**20:.0f}" for at in (min(fifth, tasks - 1), -1)]
    times = [median(name, part) for name in ("train_seconds", "eval_seconds") for part in (early, late)]
    return (str(tasks), *times, *memory)


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]))))
