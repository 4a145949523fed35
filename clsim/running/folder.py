"""A run folder: what it is made of, and how it is made and removed."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from clsim.cores import usable_cores
from clsim.errors import RunError
from clsim.files import write_atomically, write_json
from clsim.running.lock import locked
from clsim.running.run_identity import FILE as IDENTITY
from clsim.running.run_identity import identity
from clsim.scenario import Scenario
from clsim.scenario.document import read_document
from clsim.scenario.validate import validate

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class RunSpec:
    """What identifies a run besides its scenario; `run.json` in its folder.

    Attributes:
        strategy: "lwf+er", or parts as file.py:Class.
        name: the strategy's folder name.
        options: strategy options, {"lwf.weight": 2.0}.
        seed: seed of everything random in training.
        device: auto, cpu or cuda.
    """

    strategy: str
    name: str
    seed: int
    device: str = "auto"
    options: dict[str, Any] = field(default_factory=dict)

    def folder(self, home: Path) -> Path:
        """`<home>/<strategy>/seed<k>`, where home is `<out>/<scenario>`."""
        return home / self.name / f"seed{self.seed}"


def identity_of(scenario: Scenario, spec: RunSpec, threads: int) -> dict[str, Any]:
    """Everything that fixes the numbers of a run; see `clsim.running.run_identity`."""
    device = resolve_device(spec.device)
    return identity(scenario, spec.strategy, spec.options, seed=spec.seed, device=device, threads=threads)


def prepare(folder: Path, scenario: Scenario, spec: RunSpec, threads: int) -> None:
    """Make the run folder with the files that define the run; it is there with all of them, or not at all.

    They are `config.yaml`, the resolved scenario, `run.json`, and `identity.json`, by which equal runs are known.

    Raises:
        RunError: it cannot be written.
    """
    config = scenario.config.model_dump(mode="json") | {"threads": threads}
    text = StringIO()
    YAML().dump(config, text)
    asked = identity_of(scenario, spec, threads)
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        write_json(part / "run.json", asdict(spec))
        write_json(part / IDENTITY, asked)
        write_atomically(part / "config.yaml", text.getvalue())
        part.rename(folder)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise RunError(f"{folder}: cannot be written: {error.strerror}") from None


def open_run(folder: Path) -> tuple[Scenario, RunSpec]:
    """Read back what `prepare` wrote.

    Raises:
        RunError, ScenarioError: a file is missing or damaged.
    """
    try:
        spec = RunSpec(**json.loads((folder / "run.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{folder / 'run.json'}: not a run folder: {error}") from None
    return Scenario(validate(read_document(folder / "config.yaml"))), spec


def is_finished(folder: Path) -> bool:
    """Whether a run has its result."""
    return (folder / "result.json").is_file()


def claim(folders: list[Path], overwrite: bool) -> None:
    """See that run folders are free; with `overwrite`, remove runs that are there.

    Nothing is removed unless all of them can be.

    Raises:
        RunError: a folder is taken, in use, or holds something that is not a run.
    """
    taken = [folder for folder in folders if folder.exists()]
    if taken and not overwrite:
        more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
        begun = [folder for folder in taken if (folder / "run.json").is_file() and not is_finished(folder)]
        hint = f"to go on with what was interrupted: clsim resume {begun[0]}; " if begun else ""
        raise RunError(f"{taken[0]}{more}: there already; {hint}use --overwrite to replace, or another --out")
    for folder in taken:
        refuse_other_folders(folder)
    with ExitStack() as locks:
        for folder in taken:
            locks.enter_context(locked(folder))
        for folder in taken:
            shutil.rmtree(folder)


def refuse_other_folders(folder: Path) -> None:
    """Raise RunError if the folder holds something that is not a run, so that nobody's files are lost."""
    if not (folder / "run.json").is_file():
        raise RunError(f"{folder}: is not a run folder (no run.json); not removed")


def resolve_threads(requested: str | int, workers: int = 1) -> int:
    """CPU threads of a run: as asked, or the usable cores shared among `workers`."""
    if requested == "auto":
        return max(1, usable_cores() // workers)
    return int(requested)


def resolve_device(requested: str) -> str:
    """cpu or cuda; part of a run's identity, so that it is fixed before launch. Imports torch unless cpu is asked for.

    Raises:
        RunError: no such device, or cuda is asked for and there is none.
    """
    if requested not in DEVICES:
        raise RunError(f"device: given {requested!r}, allowed: {', '.join(DEVICES)}")
    if requested == "cpu":
        return requested
    import torch  # here, because planning must stay cheap

    available = torch.cuda.is_available()
    if requested == "cuda" and not available:
        raise RunError("--device cuda: no CUDA device is available; allowed here: auto, cpu")
    return "cuda" if available else "cpu"


def split_overrides(overrides: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keys of the scenario, and strategy options (keys that start with "strategy.", without it)."""
    options = {key.removeprefix("strategy."): value for key, value in overrides.items() if key.startswith("strategy.")}
    return {key: value for key, value in overrides.items() if not key.startswith("strategy.")}, options


def safe_name(name: str) -> str:
    """A strategy name as a folder name."""
    return re.sub(r"[^A-Za-z0-9._+-]", "_", name)
