"""What a checkpoint costs."""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from avalanche.logging import BaseLogger

from benchmarks.training_step import WORKLOADS
from clsim.evaluation.history import History
from clsim.running.assembly import build_template, training_plan
from clsim.running.checkpoint_files import newest_checkpoint, write_checkpoint
from clsim.scenario import load_scenario
from clsim.scenario.schema import CheckpointSection
from clsim.training.composition import Composition
from clsim.training.template import MultiLabelTemplate

STRATEGY = "rebll"  # a snapshot, teacher and relabeller in one, beside the model
ROUNDS = 7
HEADINGS = ("network", "size (MB)", "write (ms)", "of it CPU (ms)", "read (ms)", "share of training time (%)")


class _Reached(Exception):
    """The second step of the second task is done."""


def measure() -> list[tuple[str, ...]]:
    """Rows of HEADINGS inside the second task, with AdamW's moments; the share at the default frequency."""
    minutes = CheckpointSection().minutes
    assert minutes is not None
    rows: list[tuple[str, ...]] = []
    for name in WORKLOADS:
        if name != "mlp":
            size, write, busy, read = _cost(name)
            times = (f"{1000 * seconds:.0f}" for seconds in (write, busy, read))
            rows.append((name, f"{size / 1e6:.1f}", *times, f"{100 * write / (60 * minutes):.3f}"))
    return rows


def _cost(name: str) -> tuple[int, float, float, float]:
    """Bytes, and medians of the seconds to write, of the CPU's part in them, and to read."""
    template = _inside_the_second_task(name)
    written, busy, read = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(ROUNDS):
            began, worked = time.perf_counter(), time.process_time()
            template.refuse_not_finite()
            facts = {"identity": {}, "position": asdict(template.position), "files": {}}
            path = write_checkpoint(Path(folder), template.state_dict(), facts)
            written.append(time.perf_counter() - began)
            busy.append(time.process_time() - worked)
            began = time.perf_counter()
            checkpoint = newest_checkpoint(Path(folder))
            assert checkpoint is not None
            checkpoint.state()
            read.append(time.perf_counter() - began)
        return path.stat().st_size, statistics.median(written), statistics.median(busy), statistics.median(read)


def _inside_the_second_task(name: str) -> MultiLabelTemplate:
    keys = {"dataset.train": 64, "dataset.test": 16, "stream.increment": 5, "training.epochs": 1, "threads": 1}
    scenario = load_scenario("digits-b0c2", keys | {"training.model.name": name})
    composition = Composition(STRATEGY)
    plan = training_plan(scenario, composition)
    template = build_template(
        scenario, composition, plan, seed=0, device="cpu", history=History(plan), loggers=[BaseLogger()]
    )

    def stop(template: MultiLabelTemplate) -> None:
        if (template.position.task, template.position.step) == (1, 1):
            raise _Reached

    template.at_cut = stop
    try:
        template.learn(template.benchmark.train_stream, template.benchmark.evaluation_stream)
    except _Reached:
        return template
    raise RuntimeError("the second task has no step")
