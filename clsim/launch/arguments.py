"""The arguments of `clsim.run`, `resume` and `compare`, checked before anything is read or written.

Each function returns what was given in the one form that the rest works with, or raises an error of one line that says
what was given and what is allowed.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clsim.errors import RunError, ScenarioError, StrategyError
from clsim.launch.progress import Progress, Unfailing
from clsim.scenario import Scenario, load_scenario
from clsim.scenario.document import plain
from clsim.training.composition import spec_of

if TYPE_CHECKING:
    from clsim.training.strategy import Strategy

    StrategyLike = str | type[Strategy]
    ScenarioLike = Scenario | str | Path | Mapping[str, Any]

_LONGEST = 80


def as_scenario(given: ScenarioLike, overrides: Mapping[str, Any]) -> Scenario:
    """Return the scenario to run; overrides need one that is not loaded yet.

    Raises:
        ScenarioError: no such scenario, problems in it, or a source that a run would not read.
    """
    if not isinstance(given, Scenario):
        return load_scenario(given, overrides)
    if overrides:
        keys = ", ".join(overrides)
        raise ScenarioError([f"overrides {keys}: give them to load_scenario, this scenario is already loaded"])
    if given.has_own_source:
        raise ScenarioError(
            [
                f"{given.name}: a run reads its images from the dataset of the configuration, not from the source "
                f"{type(given.source).__name__} that was given to Scenario; write it to files with "
                "clsim.data.export.write_manifest and name them in dataset: {name: manifest, file: ...}"
            ]
        )
    return given


def split_overrides(given: Mapping[str, Any] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the keys of the scenario, and the strategy options: keys that start with "strategy.", without it."""
    overrides = {} if given is None else given
    if not isinstance(overrides, Mapping) or not all(isinstance(key, str) for key in overrides):
        raise RunError(f"overrides: given {_shown(given)}, expected keys and values such as {{'training.epochs': 2}}")
    options = {
        key.removeprefix("strategy."): _option(key, value)
        for key, value in overrides.items()
        if key.startswith("strategy.")
    }
    return {key: value for key, value in overrides.items() if not key.startswith("strategy.")}, options


def _option(key: str, value: object) -> object:
    """The value as `run.json` can hold it."""
    value = plain(value, f"override {key}")
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        text = f"given {_shown(value)}, expected a finite number, a text, true, false, or a list of them"
        raise StrategyError(f"override {key}: {text}") from None
    return value


def as_specs(given: StrategyLike | Iterable[StrategyLike]) -> list[str]:
    """Return the names of strategies, each once.

    DECIDED: one text is a list joined with commas, as on the command line; one class is itself.
    """
    if isinstance(given, str):
        given = given.split(",")
    elif isinstance(given, type):
        given = [given]
    each = _listed(given)
    if each is None:
        raise StrategyError(f"strategies: given {_shown(given)}, expected names such as ['er', 'lwf+er']")
    return list(dict.fromkeys(map(spec_of, each)))


def as_seed(given: object, name: str = "seed") -> int:
    """Return a whole number, which NumPy's are too; true and false are none."""
    try:
        if not isinstance(given, bool):
            return operator.index(given)  # type: ignore[arg-type]  # which is what it finds out
    except TypeError:
        pass
    raise RunError(f"{name}: given {_shown(given)}, expected a whole number")


def as_seeds(given: Iterable[int], name: str) -> tuple[int, ...]:
    """Return whole numbers, each once.

    DECIDED: a single number is refused, because `seeds=3` may mean the seed 3 or three seeds.
    """
    each = None if isinstance(given, str | bytes) else _listed(given)
    if each is None:
        raise RunError(f"{name}: given {_shown(given)}, expected a list such as [0, 1, 2] or range(3)")
    return tuple(dict.fromkeys(as_seed(one, name) for one in each))


def as_path(given: str | Path, name: str) -> Path:
    """Return a path that the operating system can name."""
    try:
        path = Path(given)
    except TypeError:
        raise RunError(f"{name}: given {_shown(given)}, expected the path of a folder") from None
    if "\0" in str(path):
        raise RunError(f"{name}: given {_shown(given)}, a path holds no null character")
    return path


def as_flag(given: bool, name: str) -> bool:
    """Return true or false; no text is either, because 'no' would count as true."""
    if not isinstance(given, bool):
        raise RunError(f"{name}: given {_shown(given)}, expected True or False")
    return given


def as_progress(given: Progress | None) -> Progress | None:
    """Return a progress that never ends a run; None stays None."""
    if given is None:
        return None
    if isinstance(given, type) or not isinstance(given, Progress):
        raise RunError(
            f"progress: given {_shown(given)}, expected None, clsim.launch.progress.ConsoleProgress(), or an "
            "object with update, say and close"
        )
    return Unfailing(given)


def _listed(given: object) -> list[Any] | None:
    """The elements of something to go through; None of a mapping, or of what is neither."""
    if isinstance(given, Mapping):
        return None
    try:
        return list(given)  # type: ignore[call-overload]  # which is what it finds out
    except TypeError:
        return None


def _shown(given: object) -> str:
    text = " ".join(repr(given).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
