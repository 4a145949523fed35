"""Which runs of a comparison train the same first task, and in which order they start."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from clsim.launch.run_state import RunState
from clsim.running.run_folder import RunFolder

FOLDER = ".first-task"
"""Beside the runs, for as long as the comparison runs."""


def first_task_key(part: str | None, identity: Mapping[str, Any]) -> str | None:
    """Hash of everything that fixes the first task of a run; None: it is not shared.

    Args:
        part: `Composition.first_task_key`, which stands for the strategy, its options and its code.
        identity: of the run.
    """
    if part is None:
        return None
    rest = {key: value for key, value in identity.items() if not key.startswith(("strategy", "code.strategy."))}
    return hashlib.sha256(json.dumps([part, rest], sort_keys=True).encode()).hexdigest()[:16]


def shares(home: Path, keys: Mapping[Path, str | None], states: Mapping[Path, RunState]) -> dict[Path, Path]:
    """Run folder -> folder of the first task it shares, of the runs that have it to train and are not alone with it."""
    to_train = {
        folder: key
        for folder, key in keys.items()
        if key is not None and states[folder].status == "waiting" and states[folder].task == 1
    }
    times = Counter(to_train.values())
    return {folder: home / FOLDER / key for folder, key in to_train.items() if times[key] > 1}


def is_there(share: Path) -> bool:
    """Whether a run has left the trained first task."""
    return any(RunFolder(share).checkpoint.glob("*.json"))


def launch_order(waiting: Iterable[Path], share: Mapping[Path, Path], states: Mapping[Path, RunState]) -> list[Path]:
    """First one run of each group, the one that is farthest; then the runs that share nothing; then the others."""
    heads: dict[Path, Path] = {}
    waiting = list(waiting)
    for folder in waiting:
        if folder in share:
            head = heads.setdefault(share[folder], folder)
            if states[folder].done > states[head].done:
                heads[share[folder]] = folder
    return sorted(waiting, key=lambda folder: 0 if folder in heads.values() else 2 if folder in share else 1)
