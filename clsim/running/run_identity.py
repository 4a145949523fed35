"""What makes two runs the same run.

It is written as `identity.json` into a run folder before the run starts, for a comparison that may find the run there,
and into the header of each checkpoint, for the run that goes on from it.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import platform
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import clsim
from clsim.data.own_class import is_reference, path_keys
from clsim.data.path_options import path_options
from clsim.errors import RunError
from clsim.files import write_json
from clsim.running.dotted_keys import flat
from clsim.scenario import Scenario
from clsim.scenario.schema import ScenarioConfig
from clsim.training.composition import Composition
from clsim.training.strategy import Strategy

FILE = "identity.json"
PACKAGES = ("torch", "torchvision", "avalanche-lib", "numpy", "pillow")
"""DECIDED: their versions count, and Python's, because numbers and pixels come from them; those of plots do not."""

NO_NUMBERS = {"source", "expected", "threads", "checkpoint"}
"""Keys of a scenario that are not compared: they change no number, but for `threads`, whose resolved value is."""

AROUND_RUNS = (
    *("__main__.py", "cli.py", "launch/*.py"),
    *("experiment/results.py", "experiment/report*.py", "experiment/tables.py", "experiment/ladder.py"),
    *("experiment/significance.py", "experiment/statistics.py", "experiment/overlay.py", "experiment/board.py"),
)
"""Files that start runs or show them: no run imports them, so that they may change between two runs of a comparison."""


def identity(scenario: Scenario, strategy: str, options: Mapping[str, Any], **launch: Any) -> dict[str, Any]:
    """Everything that fixes a run's numbers, one level of dotted keys, JSON-ready.

    Args:
        strategy: as in `RunSpec.strategy`.
        options: as in `RunSpec.options`.
        launch: seed, device (cpu or cuda) and threads.
    """
    composition = Composition(strategy, options)
    resolved = composition.options()
    config = flat(scenario.config.model_dump(mode="json", exclude=NO_NUMBERS))
    for keys, option in path_options(ScenarioConfig).items():
        path = config.pop(key := ".".join(keys), None)
        if isinstance(path, str) and option.compared == "content":
            config[key] = _content(Path(path))
    own = {}
    if is_reference(name := config["dataset.name"]):
        for key in path_keys(name):
            config.pop(f"dataset.options.{key}", None)
        config["dataset.name"] = Path(name).name  # where the file lies does not count; what it says does
        own = {"code.dataset": code} if (code := getattr(scenario.source, "code_sha256", None)) else {}
    return {
        "strategy": composition.name,
        **launch,
        **flat(resolved, "strategy."),
        **config,
        "plan_sha256": scenario.plan().sha256,
        "data_fingerprint": scenario.fingerprint,
        "code.clsim": code_version(),
        **own,
        **{f"code.{name}": _source(part) for name, part in zip(resolved, composition.parts, strict=True)},
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


def read_identity(folder: Path) -> dict[str, Any]:
    """What `identity` said when the run was prepared.

    Raises:
        RunError: the file is missing, as with runs of older versions, or damaged.
    """
    path = folder / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{folder}: does not say what made it (no {FILE})") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: not readable: {error}") from None
    if not isinstance(content, dict):
        raise RunError(f"{path}: expected a JSON object, found {type(content).__name__}")
    return content


def record_identity(folder: Path, now: Mapping[str, Any], goes_on: bool) -> None:
    """Write what makes the run that begins; of one that goes on by other means keep both, so that it equals neither."""
    try:
        there = read_identity(folder) if goes_on else {}
    except RunError:
        return  # of an older version, which is reused by nobody
    both = {key: _after(there[key], value) if key in there else value for key, value in now.items()}
    if both != there:
        write_json(folder / FILE, both)


def _after(there: Any, now: Any) -> Any:
    known = there == now or str(there).endswith(f", then {now}")
    return there if known else f"{there}, then {now}"


def differences(there: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """A text for each key that differs: "training.epochs: was 2, now 6"."""
    return [
        f"{key}: was {_shown(there, key)}, now {_shown(asked, key)}"
        for key in dict.fromkeys([*asked, *there])
        if key not in there or key not in asked or there[key] != asked[key]
    ]


def without_versions(values: Mapping[str, Any]) -> dict[str, Any]:
    """An identity without the code and the versions of what it was made with."""
    return {
        key: value for key, value in values.items() if not key.startswith("code.") and key not in ("python", *PACKAGES)
    }


def _shown(values: Mapping[str, Any], key: str) -> str:
    if key not in values:
        return "not there"
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1", json.dumps(values[key]))


@lru_cache(maxsize=1)
def code_version() -> str:
    """SHA-256 over the name and content of every file of clsim that a run may import.

    DECIDED: by content, not by commit, so that a change that is not committed counts and one of the documentation does
    not. Strategies are hashed each by its own file, those of users too; what such a file imports is not followed.
    """
    home = Path(clsim.__file__).parent
    return _sha256(_sources(home), home)


def _sources(home: Path) -> Iterator[Path]:
    """Sorted; strategies and scenarios, which an installed clsim has within, are left out."""
    for path in sorted(home.rglob("*.py")):
        name = path.relative_to(home)
        if name.parts[0] not in ("strategies", "scenarios") and not any(name.match(shape) for shape in AROUND_RUNS):
            yield path


def _sha256(files: Iterable[Path], home: Path | None = None) -> str:
    digest = hashlib.sha256()
    for path in files:
        content = path.read_bytes()
        name = path.relative_to(home).as_posix() if home is not None else ""
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _source(part: Strategy) -> str:
    return _sha256([Path(inspect.getfile(type(part)))])


def _content(path: Path) -> str:
    """SHA-256 of a file of weights; the name where there is none, which building the model will tell."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return str(path)
