"""The files that define a run: written before it starts, and read by the process that carries it out."""

from __future__ import annotations

import json
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
        RunError: it cannot be written.
    """
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
