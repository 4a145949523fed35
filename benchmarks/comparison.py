"""Wall time of a comparison against its runs one by one: `python -m benchmarks.comparison`, writes comparison.md.

Six strategies, which all train the same first task, and three seeds on a stream of ten classes and then two a task
(B10-C2). One by one each run is a process of its own with all cores; together the cores are shared among as many runs,
and the first task of each seed is trained once. The comparison is timed before and after the single runs, because a
shared machine may be another one ten minutes later.
"""

from __future__ import annotations

import argparse
import datetime
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from clsim.cores import usable_cores
from clsim.experiment.results import load_results
from clsim.files import write_atomically
from clsim.running.environment import environment

STRATEGIES = ("finetune", "er", "lwf", "lwf+er", "er+or", "ewc")
SEEDS = (0, 1, 2)


def stream(train: int, epochs: int) -> dict[str, object]:
    """Overrides of digits-b0c2 that make it B10-C2 with twenty classes."""
    return {
        "dataset.categories": 20,
        "dataset.train": train,
        "dataset.test": 200,
        "stream.base": 10,
        "training.epochs": epochs,
    }


def main() -> None:
    """Measure both ways and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--train", type=int, default=1200, help="training images")
    parser.add_argument("--epochs", type=int, default=6)
    arguments = parser.parse_args()
    settings = stream(arguments.train, arguments.epochs)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as home:
        all_seeds = ",".join(map(str, SEEDS))
        all_runs = ("compare", "--strategies", ",".join(STRATEGIES), "--seeds", all_seeds)
        together = [seconds(all_runs, settings, Path(home) / "before")]
        print(f"one comparison: {together[0]:.1f} s", flush=True)
        alone = {}
        for strategy in STRATEGIES:
            for seed in SEEDS:
                command = ("run", "--strategy", strategy, "--seed", str(seed))
                alone[strategy, seed] = seconds(command, settings, Path(home) / "alone")
                print(f"{strategy} seed {seed}: {alone[strategy, seed]:.1f} s", flush=True)
        together.append(seconds(all_runs, settings, Path(home) / "after"))
        runs = load_results(Path(home) / "after" / "digits-b0c2").runs
    shared = sum("shared_seconds" in line for run in runs for line in run.timing)
    facts = environment("cpu", usable_cores())
    versions = ", ".join(f"{name} {facts[name]}" for name in ("torch", "avalanche-lib", "numpy"))
    text = "\n".join(
        [
            "# A comparison and its runs one by one\n",
            f"`python -m benchmarks.comparison --train {arguments.train} --epochs {arguments.epochs}` on "
            f"{datetime.date.today()}: {usable_cores()} cores of {facts['cpu']}, Python {facts['python']}, {versions}; "
            f"load of the machine before it began {load:.1f}.\n",
            f"{', '.join(STRATEGIES)}, seeds {all_seeds}, on digit scenes of 20 classes, B10-C2; the first task of "
            f"{shared} of {len(runs)} runs was not trained but shared. Wall time with the start of each process.\n",
            "| way | s | ratio |",
            "| --- | ---: | ---: |",
            f"| one by one, each with all cores | {sum(alone.values()):.0f} | 1.00 |",
            f"| one comparison, before them | {together[0]:.0f} | {together[0] / sum(alone.values()):.2f} |",
            f"| one comparison, after them | {together[1]:.0f} | {together[1] / sum(alone.values()):.2f} |",
        ]
    )
    write_atomically(Path(__file__).with_name("comparison.md"), text + "\n")
    print(text)


def seconds(command: tuple[str, ...], settings: dict[str, object], out: Path) -> float:
    """Wall time of a clsim command on digits-b0c2 with these settings."""
    name, *options = command
    sets = [text for key, value in settings.items() for text in ("--set", f"{key}={value}")]
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "clsim", name, "digits-b0c2", *options, "--out", str(out), "--device", "cpu", *sets],
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
