"""The arguments of `clsim.run`, `resume` and `compare`, checked before anything is read or written.

Each function returns its argument in the one form that the rest of clsim works with. Its errors are one line that says
what was given and what is allowed.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from clsim.errors import RunError, ScenarioError, StrategyError, did_you_mean
from clsim.launch.progress import ConsoleProgress, Progress, Unfailing
from clsim.scenario import Scenario, load_scenario
from clsim.scenario.document import plain

if TYPE_CHECKING:
    from clsim.launch.engines import Engine
    from clsim.launch.variants import Variant
    from clsim.training.strategy import Strategy

    StrategyLike: TypeAlias = str | type[Strategy] | Variant | Mapping[str, Any]
    EngineLike: TypeAlias = str | Engine
    ScenarioLike: TypeAlias = Scenario | str | Path | Mapping[str, Any]

_LONGEST = 80
_SEEDS = re.compile(r"(\d{1,18})(?:\s*-\s*(\d{1,18}))?")
_MOST_SEEDS = 1000


def as_scenario(
    value: ScenarioLike, overrides: Mapping[str, Any], origins: Mapping[str, str] = MappingProxyType({})
) -> Scenario:
    """Return the scenario to run; overrides need one that is not loaded yet.

    Args:
        origins: key of `overrides` -> where it was written.

    Raises:
        ScenarioError: no such scenario, or problems in it.
    """
    if not isinstance(value, Scenario):
        return load_scenario(value, overrides, origins)
    if overrides:
        keys = ", ".join(overrides)
        raise ScenarioError([f"overrides {keys}: give them to load_scenario, this scenario is already loaded"])
    return value.with_source(value.source) if value.has_own_source else value


def split_overrides(value: Mapping[str, Any] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the keys of the scenario, and the strategy options: keys that start with "strategy.", without it."""
    overrides = {} if value is None else value
    if not isinstance(overrides, Mapping) or not all(isinstance(key, str) for key in overrides):
        raise RunError(f"overrides: given {_quoted(value)}, expected keys and values such as {{'training.epochs': 2}}")
    options = {
        key.removeprefix("strategy."): as_option(key, value)
        for key, value in overrides.items()
        if key.startswith("strategy.")
    }
    return {key: value for key, value in overrides.items() if not key.startswith("strategy.")}, options


def as_option(key: str, value: object) -> object:
    """Return the value of a strategy option as `run.json` can hold it."""
    value = plain(value, f"override {key}")
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        text = f"given {_quoted(value)}, expected a finite number, a text, true, false, or a list of them"
        raise StrategyError(f"override {key}: {text}") from None
    return value


def as_seed(value: object, name: str = "seed") -> int:
    """Return a whole number, which NumPy's are too; true and false are none."""
    try:
        if not isinstance(value, bool):
            return operator.index(value)  # type: ignore[arg-type]  # a TypeError is the answer
    except TypeError:
        pass
    raise RunError(f"{name}: given {_quoted(value)}, expected a whole number")


def as_seeds(value: Iterable[int], name: str) -> tuple[int, ...]:
    """Return whole numbers, each once.

    DECIDED: a single number is refused, because `seeds=3` may mean the seed 3 or three seeds.
    """
    each = None if isinstance(value, str | bytes) else _elements(value)
    if each is None:
        raise RunError(f"{name}: given {_quoted(value)}, expected a list such as [0, 1, 2] or range(3)")
    return tuple(dict.fromkeys(as_seed(one, name) for one in each))


def parse_seeds(text: str, name: str) -> list[int]:
    """Return the seeds of a text such as "0-4" or "0,2,10-12"."""
    seeds: list[int] = []
    for part in text.split(","):
        bounds = _SEEDS.fullmatch(part.strip())
        first, last = (int(bounds[1]), int(bounds[2] or bounds[1])) if bounds else (1, 0)
        if not first <= last < first + _MOST_SEEDS:
            raise RunError(f"{name} {text}: expected whole numbers joined with commas, such as 0,1,2 or 0-4")
        seeds += range(first, last + 1)
    return seeds


def as_path(value: str | Path, name: str) -> Path:
    """Return a path that the operating system can name."""
    try:
        path = Path(value)
    except TypeError:
        raise RunError(f"{name}: given {_quoted(value)}, expected the path of a folder") from None
    if "\0" in str(path):
        raise RunError(f"{name}: given {_quoted(value)}, a path holds no null character")
    return path


def as_flag(value: bool, name: str) -> bool:
    """Return true or false; no text is either, because 'no' would count as true."""
    if not isinstance(value, bool):
        raise RunError(f"{name}: given {_quoted(value)}, expected True or False")
    return value


def as_engine(value: EngineLike | None) -> Engine:
    """Return the engine that starts runs: one of its names, with what it does by default, or an engine.

    Raises:
        RunError: it is neither.
    """
    from clsim.launch.engines import Engine
    from clsim.launch.engines.local import LocalEngine
    from clsim.launch.engines.ray import RayEngine
    from clsim.launch.engines.slurm import SlurmEngine

    if isinstance(value, Engine):
        return value
    named: dict[str, type[Engine]] = {"local": LocalEngine, "ray": RayEngine, "slurm": SlurmEngine}
    name = "local" if value is None else value
    if not isinstance(name, str) or name not in named:
        nearest = did_you_mean(name, named) if isinstance(name, str) else ""
        raise RunError(f"engine: given {_quoted(value)}, allowed: {', '.join(named)}, or a RayEngine(...){nearest}")
    return named[name]()


def as_progress(value: Progress | bool | None) -> Progress | None:
    """Return a progress that never ends a run; None: silent.

    True stands for one on the console, False for none, and None for one if a terminal or a notebook shows it.
    """
    if value is None or isinstance(value, bool):
        shown = ConsoleProgress()
        return Unfailing(shown) if value or (value is None and shown.is_seen) else None
    if isinstance(value, type) or not isinstance(value, Progress):
        raise RunError(
            f"progress: given {_quoted(value)}, expected True, False, None, or an object with update, say and close"
        )
    return Unfailing(value)


def _elements(value: object) -> list[Any] | None:
    """Return the elements of an iterable; None for a mapping, or if the value cannot be iterated."""
    if isinstance(value, Mapping):
        return None
    try:
        return list(value)  # type: ignore[call-overload]  # a TypeError is the answer
    except TypeError:
        return None


def _quoted(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
