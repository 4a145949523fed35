"""What disturbed runs come to, against undisturbed ones: `python -m benchmarks.soak [SECTION[=NUMBER]]...`.

The section `runs` kills single runs; the others disturb comparisons, see `benchmarks.soak_sections`.

Processes are killed with SIGKILL, half of them at any moment from their start on, half inside the write of a
checkpoint. A run is killed a few times, then let go on to its end, and must then equal the undisturbed one: weights
and all other state, `metrics.jsonl`, `class_values.f64`, `memory.csv`, `result.json`, and the curves, pictures and
precision-recall curves that TensorBoard reads. Each section has a place of its own in soak.md beside this file, with
the day on which it was carried out.
"""

from __future__ import annotations

import datetime
import multiprocessing
import platform
import re
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from benchmarks import soak_sections
from benchmarks.__main__ import table
from clsim.files import write_atomically
from clsim.running.checkpoint_files import newest_checkpoint
from clsim.running.environment import environment
from clsim.running.execution import execute
from clsim.running.prepared_run import prepare
from clsim.running.run_folder import RunFolder
from clsim.running.run_spec import RunSpec
from clsim.scenario import load_scenario

STRATEGIES = ("er", "rebll", "rebll+more")
STREAM = {
    "dataset.train": 120,
    "dataset.test": 40,
    "stream.increment": 5,  # two tasks
    "training.epochs": 3,
    "training.batch_size": 16,
    "training.model.image_size": 28,
    "memory.budget.per_class": 2,
    "threads": 1,
    "checkpoint.steps": 2,
}
KILLS = 60
KILLS_A_RUN = 4
CLOCKS = ("seconds", "cpu_seconds")
"""Keys of a state that differ between equal runs."""

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(  # imported once, not in every process
    ["benchmarks.__main__", "clsim.running.execution", EventAccumulator.__module__]
)


@dataclass
class Tally:
    """What was done to the runs of one strategy.

    Attributes:
        kills: processes killed.
        inside_a_write: of these, with a checkpoint half-written.
        before_the_first: of these, before there was a checkpoint.
        runs: that came to their end.
        different: those that do not equal the undisturbed one, each with what differs.
    """

    kills: int = 0
    inside_a_write: int = 0
    before_the_first: int = 0
    runs: int = 0
    different: list[str] = field(default_factory=list)


class Soak:
    """One strategy on one small stream.

    Args:
        home: a folder for the runs.
        strategy: its name.
        overrides: of digits-b0c2.
        seed: of the moments; what they hit depends on the machine all the same.
    """

    def __init__(self, home: Path, strategy: str, overrides: Mapping[str, Any], seed: int = 0) -> None:
        self.home = home
        self.spec = RunSpec(strategy, strategy, 0)
        self.scenario = load_scenario("digits-b0c2", overrides)
        self.rng = np.random.default_rng(seed)
        self.tally = Tally()
        self.undisturbed = self._prepared("undisturbed")
        self._finish(self.undisturbed)
        began = time.monotonic()
        self._finish(self._prepared("timed"))  # the first one also waited for the imports
        self.seconds = time.monotonic() - began

    def disturb(self, kills: int) -> None:
        """Kill a run up to so many times, every other time inside a checkpoint write, and let it end."""
        folder = self._prepared(f"killed{self.tally.runs}")
        for number in range(kills):
            if not self._killed(folder, inside_a_write=number % 2 == 1):
                break
        self._finish(folder)
        self.tally.runs += 1
        found = differences(folder, self.undisturbed)
        if found:
            self.tally.different.append(f"{folder}: {', '.join(found)}")

    def _prepared(self, name: str) -> Path:
        folder = self.home / self.spec.name / name
        prepare(folder, self.scenario, self.spec, 1)
        return folder

    def _start(self, folder: Path) -> BaseProcess:
        process = PROCESSES.Process(target=execute, args=(folder,))
        process.start()
        return process

    def _finish(self, folder: Path) -> None:
        process = self._start(folder)
        process.join()
        if process.exitcode:
            raise RuntimeError(f"{folder}: ended with exit code {process.exitcode}; see run.log")

    def _killed(self, folder: Path, inside_a_write: bool) -> bool:
        """Start or go on with a run and kill it; False if it was faster."""
        before = _half_written(folder)
        process = self._start(folder)
        process.join(self.rng.uniform(0, self.seconds / (2 if inside_a_write else 1)))
        while inside_a_write and process.is_alive() and not _half_written(folder) - before:
            time.sleep(0.002)  # a write takes some hundredths of a second
        process.kill()
        process.join()
        if process.exitcode == 0:
            return False
        self.tally.kills += 1
        self.tally.inside_a_write += bool(_half_written(folder) - before)
        self.tally.before_the_first += newest_checkpoint(folder) is None
        return True


def _half_written(folder: Path) -> set[Path]:
    return set(RunFolder(folder).checkpoint.glob(".*.part"))


def differences(folder: Path, other: Path) -> list[str]:
    """What of two finished runs is not equal to the last bit."""
    files = (
        "metrics.jsonl",
        "class_values.f64",
        "class_values.json",
        "memory.csv",
        "scores.f32",
        "scores.json",
        "result.json",
    )
    found = [name for name in files if _bytes(folder, name) != _bytes(other, name)]
    found += ["state"] * (not _equal(_state(folder), _state(other)))
    return found + ["curves"] * (curves(folder) != curves(other))


def curves(folder: Path) -> dict[str, list[tuple[int, Any]]]:
    """All that TensorBoard reads of a run: tag -> its points, step and content, in their order."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0}).Reload()
    tags = events.Tags()
    return {
        **{tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags["scalars"]},
        **{tag: [(image.step, image.encoded_image_string) for image in events.Images(tag)] for tag in tags["images"]},
        **{tag: [(e.step, e.tensor_proto.SerializeToString()) for e in events.Tensors(tag)] for tag in tags["tensors"]},
        "hparams": [(0, sorted(events.PluginTagToContent("hparams")))],
    }


def _bytes(folder: Path, name: str) -> bytes:
    return (folder / name).read_bytes() if (folder / name).exists() else b""


def _state(folder: Path) -> Any:
    checkpoint = newest_checkpoint(folder)
    return None if checkpoint is None else [checkpoint.state(), checkpoint.scores()]


def _equal(one: Any, other: Any) -> bool:
    """Whether two states are, but for the time that passed."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one if key not in CLOCKS)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, torch.Tensor):
        same = (
            torch.equal if not one.is_floating_point() else partial(torch.allclose, rtol=0.0, atol=0.0, equal_nan=True)
        )
        return one.shape == other.shape and one.dtype == other.dtype and bool(same(one, other))
    return bool(one == other) or (one != one and other != other)


def killed_runs(count: int | None = None) -> tuple[str, list[str]]:
    """Kill runs of each strategy until there are enough; return the text of the section, and the runs that differ."""
    kills = KILLS if count is None else count
    rows, different = [], []
    with tempfile.TemporaryDirectory() as home:
        for seed, strategy in enumerate(STRATEGIES):
            soak = Soak(Path(home), strategy, STREAM, seed)
            tally = soak.tally
            while tally.kills < kills // len(STRATEGIES):
                soak.disturb(min(KILLS_A_RUN, kills // len(STRATEGIES) - tally.kills))
            counts = (tally.kills, tally.inside_a_write, tally.before_the_first, tally.runs, len(tally.different))
            rows.append((strategy, *map(str, counts)))
            different += tally.different
    headings = ("strategy", "kills", "inside a checkpoint write", "before the first checkpoint", "runs", "different")
    text = (
        f"Two tasks of digits; each run is killed up to {KILLS_A_RUN} times with SIGKILL and then let go on to its "
        "end. `different` counts the runs that do not equal the undisturbed one to the last bit, in weights and all "
        f"other state, metrics, memory, result and curves.\n\n{table(headings, rows)}"
    )
    return text, different


SECTIONS: dict[str, tuple[str, Callable[[int | None], tuple[str, list[str]]]]] = {
    "runs": ("Killed runs", killed_runs),
    "environments": ("Environments", soak_sections.environments_section),
    "processes": ("Killed processes of a comparison", soak_sections.processes_section),
    "signals": ("Processes asked to stop", soak_sections.signals_section),
    "clock": ("Clock that jumps", soak_sections.clock_section),
    "disk": ("Disk that fills up", soak_sections.disk_section),
    "many": ("Many runs", soak_sections.many_section),
}
PAGE = Path(__file__).with_name("soak.md")


def record(name: str, text: str) -> None:
    """Put the text of a section into soak.md, in the place of its earlier one."""
    facts = environment("cpu", 1)
    versions = ", ".join(f"{key} {facts[key]}" for key in ("torch", "avalanche-lib", "numpy", "tensorboard"))
    machine = f"{facts['cpu']}, {platform.platform()}, Python {facts['python']}, {versions}"
    body = f"## {SECTIONS[name][0]}\n\n{datetime.date.today()}, {machine}.\n\n{text.strip()}"
    new = f"<!-- {name} -->\n{body}\n<!-- end of {name} -->\n"
    head = "# Soak\n\n`make soak`, or some of it: `python -m benchmarks.soak environments processes=20`.\n"
    old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    parts = {
        other: found[0]
        for other in SECTIONS
        if (found := re.search(f"<!-- {other} -->\n.*?<!-- end of {other} -->\n", old, re.DOTALL))
    }
    parts[name] = new
    write_atomically(PAGE, "\n".join([head, *(parts[other] for other in SECTIONS if other in parts)]))


def main() -> None:
    """Carry out all sections, or those given as NAME or NAME=NUMBER; exit code 1 if something differs or is left."""
    asked = [word.partition("=") for word in sys.argv[1:]] or [(name, "", "") for name in SECTIONS]
    if unknown := [name for name, _, _ in asked if name not in SECTIONS]:
        sys.exit(f"no section {unknown[0]!r}; allowed: {', '.join(SECTIONS)}")
    wrong = []
    for name, _, number in asked:
        text, found = SECTIONS[name][1](int(number) if number else None)
        record(name, text)
        sys.stdout.write(f"{text}\n")
        wrong += found
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
