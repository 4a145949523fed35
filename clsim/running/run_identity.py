"""What makes two runs the same run.

It is written as `identity.json` into a run folder before the run starts, for a comparison that may find the run there,
and into the header of each checkpoint, for the run that goes on from it.
"""

from __future__ import annotations

import json
import logging
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
from clsim.opening import read_regular
from clsim.option_marks import marked_options
from clsim.part_kinds import KINDS
from clsim.parts import PartOption, code_of, is_file, library_of, option_paths
from clsim.running.dotted_keys import flat
from clsim.running.gpu import IDENTIFYING, kernels
from clsim.running.hardware import device_kind, resolve_device
from clsim.running.run_folder import RunFolder
from clsim.running.run_spec import RunSpec
from clsim.scenario import Scenario
from clsim.scenario.schema import ScenarioConfig
from clsim.source_code import class_code, code_version, file_code
from clsim.torchrun import this_process
from clsim.training.composition import Composition

log = logging.getLogger("clsim")

PACKAGES = ("torch", "torchvision", "avalanche-lib", "numpy", "pillow")
"""DECIDED: their versions count, and Python's, because numbers and pixels come from them; those of plots do not."""

NO_NUMBERS: dict[str, Any] = {
    **dict.fromkeys(("source", "expected", "threads", "checkpoint", "loggers"), True),
    "evaluation": {"metrics", "keep_scores", "pictures"},
    "training": {"tf32", "compile", "data"},
}
"""Keys of a scenario that are not compared: they change no number of the training, but for `threads`, whose resolved
value is. A metric has an identity of its own, in `RunRecord.metrics`. `tf32` and `compile` count where the device is
CUDA."""


OTHER_RUN = 10
"""Exit code of a process that would carry out another run than the prepared one."""


class OtherRun(RunError):
    """A run that was prepared where data, device, code or versions are others than in this process."""


def identity_of(scenario: Scenario, spec: RunSpec, threads: int) -> dict[str, Any]:
    """Return everything that fixes the numbers of a run; see `identity`.

    A device that the spec names need not be in this machine, so that runs can be prepared for another one.
    """
    device = device_kind(resolve_device(spec.device) if spec.device == "auto" else spec.device)
    launch: dict[str, Any] = {"seed": spec.seed, "device": device, "threads": threads}
    if (ranks := this_process().count) > 1:
        launch["ranks"] = ranks
    if device == "cuda":
        training = scenario.config.training
        launch |= {"training.tf32": training.tf32, "training.compile": training.compile, **kernels(device)}
    return identity(scenario, spec.strategy, spec.options, **launch)


def identity(scenario: Scenario, strategy: str, options: Mapping[str, Any], **launch: Any) -> dict[str, Any]:
    """Return everything that fixes a run's numbers, one level of dotted keys, JSON-ready.

    Args:
        strategy: as in `RunSpec.strategy`.
        options: as in `RunSpec.options`.
        launch: seed, device (cpu, cuda or mps) and threads; ranks, where there are several; for CUDA what else
            fixes the arithmetic.
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
        values[key] = _file_sha256(Path(path))


def _replace_part(values: dict[str, Any], key: str, mark: PartOption) -> str | None:
    """Put in the place of a part's file the name in it, and what counts in the place of paths among its options.

    Returns:
        The hash of the part's code, or the version of the library that it comes from; None: it comes with clsim,
        there is none, or it does not count.
    """
    reference = values.get(key)
    if not isinstance(reference, str):
        return None
    options = ".".join([*key.split(".")[:-1], mark.options])
    for name, compared in option_paths(mark.kind, reference).items():
        _replace_path(values, f"{options}.{name}", compared)
    if is_file(reference):
        values[key] = reference.rpartition(":")[2]
    if not KINDS[mark.kind].identified:
        return None
    library = library_of(mark.kind, reference)
    return code_of(mark.kind, reference) if library is None else f"{library.package} {version(library.package)}"


def read_identity(folder: Path) -> dict[str, Any]:
    """Return the identity that was recorded when the run was prepared.

    Raises:
        RunError: the file is missing, as with runs of older versions, or damaged.
    """
    path = RunFolder(folder).identity
    try:
        content = json.loads(read_regular(path))
    except FileNotFoundError:
        raise RunError(f"{folder}: does not say what made it (no {path.name})") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: not readable: {error}") from None
    if not isinstance(content, dict):
        raise RunError(f"{path}: expected a JSON object, found {type(content).__name__}")
    return content


def record_identity(folder: Path, now: Mapping[str, Any], goes_on: bool) -> None:
    """Write the identity of a run that begins.

    A run that goes on with another identity keeps both values of a key, so that it equals neither run.
    """
    try:
        before = read_identity(folder) if goes_on else {}
    except RunError:
        return  # of an older version, which is reused by nobody
    both = {key: _both_values(before[key], value) if key in before else value for key, value in now.items()}
    if both != before:
        write_json(RunFolder(folder).identity, both)


def refuse_unknown_code(folder: Path, scenario: Scenario, spec: RunSpec) -> None:
    """Look, before anything of them is executed, whether a run's Python files are those that it was prepared with.

    The strategy is looked at and every part that has its code in the identity: backbone, data set, loss and sampler of
    a scenario or of a strategy's options. So a folder whose `run.json` or `config.yaml` was edited runs no other file.
    Rules of the stream, which the plan's hash stands for, metrics and loggers have no code in the identity; of all
    files only absolute paths are taken, as `prepare` writes them.

    Raises:
        OtherRun: a file is another one, or the folder does not say which it was.
        RunError: a relative path.
    """
    values = flat(scenario.config.model_dump(mode="json")) | flat(spec.options, "strategy.")
    unidentified = [key for key in values if key.startswith(("evaluation.metrics", "loggers", "stream."))]
    free = set(_texts({key: values[key] for key in unidentified}))
    files = [text for text in [*spec.strategy.split("+"), *_texts(values)] if ".py:" in text]
    if not files:
        return
    for text in files:
        if not Path(text).is_absolute():
            raise RunError(f"{folder}: names {text!r}, but a run folder names Python files by absolute paths")
    known = {str(value) for key, value in read_identity(folder).items() if key.startswith("code.")}
    for text in dict.fromkeys(files):
        path = Path(text.rpartition(":")[0])
        if text in free or not path.is_file():  # one that is not there is an error of its own, with what is near
            continue
        if not any(file_code(path) in code for code in known):
            begun = f"{folder}: not begun, because it would be another run than the one that was prepared"
            what = f"{path}: its code is none that {RunFolder.identity} has"
            raise OtherRun(f"{begun}:\n  {what}; begin the run again, or resume with --changed-code")


def _texts(values: Any) -> list[str]:
    """Return all texts in plain values, at any depth."""
    if isinstance(values, str):
        return [values]
    below = values.values() if isinstance(values, dict) else values if isinstance(values, list) else ()
    return [text for value in below for text in _texts(value)]


def refuse_other_run(folder: Path, now: Mapping[str, Any], as_prepared: bool) -> None:
    """Compare the run that this process would carry out with the one that was prepared in the folder.

    Args:
        now: the identity in this process.
        as_prepared: code and versions count too; otherwise their change is only a warning in the log.

    Raises:
        OtherRun: naming each key that differs.
        RunError: the folder has no identity, with `as_prepared`.
    """
    try:
        prepared = read_identity(folder)
    except RunError:
        if as_prepared:
            raise
        return  # of an older version
    if as_prepared:
        found_here = [key for key in IDENTIFYING if key not in prepared]  # prepared where there was no GPU
        differing = differences(prepared, {key: value for key, value in now.items() if key not in found_here})
    else:
        differing = differences(without_versions(prepared), without_versions(now))
    if differing:
        text = f"{folder}: not begun, because here it would be another run than the one that was prepared:"
        raise OtherRun("\n".join([text, *(f"  {line}" for line in differing)]))
    if changed := differences(prepared, now):
        log.warning("begun with other code or versions than it was prepared with: %s", "; ".join(changed))


def other_versions(prepared: Mapping[str, Any]) -> list[str]:
    """Return a text for each version, of clsim's code too, that this process has not as a run was prepared with."""
    now = {"code.clsim": code_version(), "python": platform.python_version()}
    now |= {package: version(package) for package in PACKAGES}
    now |= {key: value for key, value in kernels(str(prepared.get("device"))).items() if key in prepared}
    return differences({key: value for key, value in prepared.items() if key in now}, now)


def _both_values(before: Any, now: Any) -> Any:
    unchanged = before == now or str(before).endswith(f", then {now}")
    return before if unchanged else f"{before}, then {now}"


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a text for each key that differs: "training.epochs: was 2, now 6"."""
    return [
        f"{key}: was {_value_text(before, key)}, now {_value_text(now, key)}"
        for key in dict.fromkeys([*now, *before])
        if key not in before or key not in now or before[key] != now[key]
    ]


def without_versions(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return an identity without the code and the versions of the packages that made it, and without the GPU."""
    versions = ("python", *PACKAGES, *IDENTIFYING)
    return {key: value for key, value in values.items() if not key.startswith("code.") and key not in versions}


def _value_text(values: Mapping[str, Any], key: str) -> str:
    if key not in values:
        return "not there"
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1", json.dumps(values[key]))


def _file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file; its name if it is missing, which is an error when it is used."""
    try:
        return content_sha256(path)
    except OSError:
        return str(path)
