"""The files that define a run: written before it starts, and read by the process that carries it out."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from clsim.errors import RunError
from clsim.files import part_folder, write_atomically, write_json
from clsim.opening import read_regular
from clsim.running.command_line import command_line
from clsim.running.run_folder import RunFolder
from clsim.running.run_identity import identity_of
from clsim.running.run_spec import RunSpec
from clsim.scenario import Scenario
from clsim.scenario.document import read_document
from clsim.scenario.validate import validate


def prepare(
    folder: Path, scenario: Scenario, spec: RunSpec, threads: int, identity: Mapping[str, Any] | None = None
) -> None:
    """Make the folder of a new run with the files that define it; it appears with all of them, or not at all.

    They are `config.yaml`, the resolved scenario; `run.json`; `identity.json`, by which equal runs are known; and
    `command.txt`, which is for people only.

    Args:
        identity: of the run, where it is known; None: it is taken here.

    Raises:
        RunError: it cannot be written, or the home folder cannot.
    """
    check_home()
    config = scenario.config.model_dump(mode="json") | {"threads": threads}
    text = StringIO()
    YAML().dump(config, text)
    identity = identity or identity_of(scenario, spec, threads)
    try:
        with part_folder(folder) as part:
            files = RunFolder(part)
            write_json(files.run, asdict(spec))
            write_json(files.identity, identity)
            write_atomically(files.command, command_line() + "\n")
            write_atomically(files.config, text.getvalue())
            part.rename(folder)
    except OSError as error:
        raise RunError(f"{folder}: cannot be written: {error.strerror}") from None


def check_home() -> None:
    """Raise RunError where Avalanche cannot be imported, because it makes a file of settings in the home folder."""
    home = Path(os.path.expanduser("~/.avalanche"))
    if not home.is_absolute():
        raise RunError("HOME: not set, and this user has no home folder; Avalanche keeps its settings in it")
    if (home / "config.json").exists():
        return
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not os.access(home, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        reason = f"{home.parent} cannot be written ({error.strerror}), and Avalanche keeps its settings in it"
        raise RunError(f"HOME: {reason}; set HOME to a folder of your own") from None


def open_run(folder: Path) -> tuple[Scenario, RunSpec]:
    """Read back what `prepare` wrote.

    Raises:
        RunError, ScenarioError: a file is missing or damaged.
    """
    files = RunFolder(folder)
    try:
        spec = RunSpec(**json.loads(read_regular(files.run)))
        spec.check()
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise RunError(f"{files.run}: not a run folder: {error}") from None
    return Scenario(validate(read_document(files.config))), spec
