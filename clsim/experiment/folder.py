"""A run folder: what it is made of, who may write to it."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import psutil
from ruamel.yaml import YAML

from clsim.cores import usable_cores
from clsim.errors import RunError
from clsim.files import naming_errors, write_atomically, write_json
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


def prepare(folder: Path, scenario: Scenario, spec: RunSpec, threads: int) -> None:
    """Make the run folder with the two files that define the run: `config.yaml`, the resolved scenario, and `run.json`.

    Raises:
        RunError: it cannot be written.
    """
    config = scenario.config.model_dump(mode="json") | {"threads": threads}
    text = StringIO()
    YAML().dump(config, text)
    try:
        folder.mkdir(parents=True)
        write_json(folder / "run.json", asdict(spec))
        write_atomically(folder / "config.yaml", text.getvalue())
    except OSError as error:
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
        if not (folder / "run.json").is_file():
            raise RunError(f"{folder}: is not a run folder (no run.json); not removed")
        if (holder := _holder(folder)) is not None:
            raise RunError(f"{folder}: in use by process {holder}")
    for folder in taken:
        shutil.rmtree(folder)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder against a second writer; the lock of a process that is gone is taken over.

    Raises:
        RunError: a living process holds it.
    """
    path = folder / "lock"
    if (holder := _holder(folder)) is not None:
        raise RunError(f"{folder}: in use by process {holder}")
    path.unlink(missing_ok=True)
    me = os.getpid()
    try:
        with naming_errors(path), path.open("x", encoding="utf-8") as file:
            json.dump({"pid": me, "began": _began(me), "host": socket.gethostname()}, file)
    except FileExistsError:
        raise RunError(f"{folder}: in use by another process") from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _holder(folder: Path) -> str | None:
    """ "pid" or "pid on host" of the living process that holds the lock."""
    try:
        lock = json.loads((folder / "lock").read_text(encoding="utf-8"))
        pid, began, host = int(lock["pid"]), float(lock["began"]), str(lock["host"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if host != socket.gethostname():
        return f"{pid} on {host}"
    return str(pid) if _began(pid) == began else None


def _began(pid: int) -> float | None:
    """When a living process began, which tells it from a later one of the same number; None if there is none.

    On Linux in ticks since the machine started: psutil counts from the time of day, which may be set meanwhile.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        stat = Path(f"/proc/{pid}/stat")
        if stat.is_file():
            return float(stat.read_text().rpartition(")")[2].split()[19])
        return float(process.create_time())
    except (psutil.Error, OSError):
        return None


def resolve_threads(requested: str | int, workers: int = 1) -> int:
    """CPU threads of a run: as asked, or the usable cores shared among `workers`."""
    if requested == "auto":
        return max(1, usable_cores() // workers)
    return int(requested)


def split_overrides(overrides: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keys of the scenario, and strategy options (keys that start with "strategy.", without it)."""
    options = {key.removeprefix("strategy."): value for key, value in overrides.items() if key.startswith("strategy.")}
    return {key: value for key, value in overrides.items() if not key.startswith("strategy.")}, options


def safe_name(name: str) -> str:
    """A strategy name as a folder name."""
    return re.sub(r"[^A-Za-z0-9._+-]", "_", name)
