"""What makes two runs the same run.

It is written as `identity.json` into a run folder before the run starts, for a comparison that may find the run there,
and into the header of each checkpoint, for the run that goes on from it.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from clsim.data.content import content_sha256
from clsim.data.path_options import path_options
from clsim.errors import RunError
from clsim.files import write_json
from clsim.option_marks import marked_options
from clsim.parts import KINDS, PartOption, code_of, is_file, library_of, stated_options
from clsim.running.dotted_keys import flat
from clsim.running.run_folder import RunFolder
from clsim.scenario import Scenario
from clsim.scenario.schema import ScenarioConfig
from clsim.source_code import class_code, code_version
from clsim.training.composition import Composition

FILE = RunFolder.identity
PACKAGES = ("torch", "torchvision", "avalanche-lib", "numpy", "pillow")
"""DECIDED: their versions count, and Python's, because numbers and pixels come from them; those of plots do not."""

NO_NUMBERS: dict[str, Any] = {
    **dict.fromkeys(("source", "expected", "threads", "checkpoint", "loggers"), True),
    "evaluation": {"metrics"},
}
"""Keys of a scenario that are not compared: they change no number of the training, but for `threads`, whose resolved
value is. A metric has an identity of its own, in `RunRecord.metrics`."""


def identity(scenario: Scenario, strategy: str, options: Mapping[str, Any], **launch: Any) -> dict[str, Any]:
    """Everything that fixes a run's numbers, one level of dotted keys, JSON-ready.

    Args:
        strategy: as in `RunSpec.strategy`.
        options: as in `RunSpec.options`.
        launch: seed, device (cpu or cuda) and threads.
    """
    composition = Composition(strategy, options)
    resolved = composition.options()
    values = flat(scenario.config.model_dump(mode="json", exclude=NO_NUMBERS)) | flat(resolved, "strategy.")
    models = {"": ScenarioConfig} | {f"strategy.{name}.": type(part).Options for name, part in composition.named()}
    for prefix, model in models.items():
        for keys, option in path_options(model).items():
            _replace_path(values, prefix + ".".join(keys), option.compared)
    codes: dict[str, str] = {}
    for prefix, model in models.items():
        for keys, mark in marked_options(model, PartOption).items():
            if (code := _replace_part(values, prefix + ".".join(keys), mark)) is not None:
                codes[f"code.{prefix}{mark.kind}"] = code
    return {
        "strategy": composition.name,
        **launch,
        **values,
        "plan_sha256": scenario.plan().sha256,
        "labels_sha256": scenario.labels_sha256,
        "data_fingerprint": scenario.fingerprint,
        "code.clsim": code_version(),
        **{f"code.strategy.{name}": class_code(type(part)) for name, part in composition.named()},
        **codes,
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


def _replace_path(values: dict[str, Any], key: str, compared: str) -> None:
    """Put in the place of a path what of it counts, if anything does."""
    path = values.pop(key, None)
    if isinstance(path, str) and compared == "content":
        values[key] = _content(Path(path))


def _replace_part(values: dict[str, Any], key: str, mark: PartOption) -> str | None:
    """Put in the place of a part's file the name in it, and what counts in the place of paths among its options.

    Returns:
        The hash of the part's code, or the version of the library that it comes from; None: it comes with clsim, or
        there is none.
    """
    reference = values.get(key)
    if not isinstance(reference, str) or not KINDS[mark.kind].identified:
        return None
    options = ".".join([*key.split(".")[:-1], mark.options])
    for name, stated in (stated_options(mark.kind, reference) or {}).items():
        if stated.path is not None:
            _replace_path(values, f"{options}.{name}", stated.path)
    if is_file(reference):
        values[key] = reference.rpartition(":")[2]
    library = library_of(mark.kind, reference)
    return code_of(mark.kind, reference) if library is None else f"{library.package} {version(library.package)}"


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


def _content(path: Path) -> str:
    """Return the SHA-256 of a file of weights; the name if there is none, which building the model will tell."""
    try:
        return content_sha256(path)
    except OSError:
        return str(path)
