"""Finished runs of a comparison by the thousand, not trained: copies of a few real ones with other numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

import clsim
from clsim.evaluation.class_values import DTYPE
from clsim.running.checksums import write_checksums
from clsim.running.run_folder import RunFolder
from clsim.strict_json import read_object

STRATEGIES = ("finetune", "er", "lwf", "lwf+er", "rebll")
"""Each is run once for real."""
SCENARIO = "digits-b0c2"
STREAM = {
    "dataset.train": 200,
    "dataset.test": 100,
    "training.epochs": 1,
    "training.model.image_size": 28,
    "threads": 1,
}
"""Overrides of the scenario: five tasks of two classes."""
LINKED = 100_000
"""Bytes from which a file is a link to the real run's: weights, checkpoint and events."""
_SCORES = ("last_mAP", "avg_mAP", "mAP", "R", "AP", "forgetting", "backward_transfer", "class_forgetting")


def variants(count: int) -> dict[str, str]:
    """Return `count` strategies by their labels, each one of STRATEGIES in turn: er-01 -> er."""
    names = [STRATEGIES[number % len(STRATEGIES)] for number in range(count)]
    return {f"{name.replace('+', '-')}-{number:02d}": name for number, name in enumerate(names)}


def compare(out: Path, strategies: int, seeds: int, **more: Any) -> clsim.Comparison:
    """Return the comparison of so many strategies and seeds; those that are finished are reused."""
    given = [f"{name} as {label}" for label, name in variants(strategies).items()]
    return clsim.compare(SCENARIO, given, seeds=range(seeds), overrides=STREAM, out=out, device="cpu", **more)


def make(out: Path, strategies: int, seeds: int) -> clsim.Comparison:
    """Make the folders of finished runs, below `out`, of which `compare` reuses all."""
    real = clsim.compare(SCENARIO, STRATEGIES, overrides=STREAM, out=out / "real", device="cpu", workers=1).folder
    prepared = compare(out, strategies, seeds, prepare_only=True)
    for folder in prepared.interrupted:
        finish(RunFolder(folder), RunFolder(real / variants(strategies)[folder.parent.name] / "seed0"))
    return prepared


def finish(files: RunFolder, real: RunFolder) -> None:
    """Put into a prepared folder what a real run has left, its scores times 0.9 to 1.1.

    All scores of a run are scaled alike, so that means and differences fit them, and so do its checksums.
    """
    for path in real.path.rglob("*"):
        target = files.path / path.relative_to(real.path)
        if path.is_dir():
            target.mkdir(exist_ok=True)
        elif path.name != RunFolder.result and not target.exists():  # what the preparation has written stays
            target.hardlink_to(path) if path.stat().st_size > LINKED else shutil.copyfile(path, target)
    factor = 0.9 + 0.2 * float(np.random.default_rng([files.seed or 0, *files.strategy.encode()]).random())
    lines = [json.loads(line) for line in files.metrics.read_text(encoding="utf-8").splitlines()]
    lines = [line | {"values": _scaled(line["values"], factor)} for line in lines]
    files.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    files.class_values.write_bytes((factor * np.fromfile(files.class_values, DTYPE)).tobytes())
    content = read_object(real.result) | {"strategy": files.strategy, "seed": files.seed}
    content |= {key: _scaled(content[key], factor) for key in _SCORES}
    content["groups"] |= {key: _scaled(content["groups"][key], factor) for key in ("last_mAP", "forgetting")}
    result = json.dumps(content, indent=1)
    write_checksums(files, result)
    files.result.write_text(result, encoding="utf-8")


def _scaled(value: Any, factor: float) -> Any:
    if isinstance(value, list):
        return [_scaled(one, factor) for one in value]
    if isinstance(value, dict):
        return {key: _scaled(one, factor) for key, one in value.items()}
    return value if value is None else factor * value
