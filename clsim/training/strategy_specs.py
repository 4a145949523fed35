"""Strategies by name: found as entry points or in a file, the parts that a name stands for, and their options."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from clsim.data.path_options import make_absolute
from clsim.errors import StrategyError, did_you_mean
from clsim.parts import PartError, entry_points_of, find
from clsim.training.claims import name_of
from clsim.training.strategy import Strategy


def registered() -> dict[str, EntryPoint]:
    """Entry points of installed strategies by name, sorted."""
    return entry_points_of("strategy")


def strategy_class(name: str) -> type[Strategy]:
    """The class behind a registered name or `path/to/file.py:Class`.

    Raises:
        StrategyError: nothing there, or not a Strategy.
    """
    try:
        found = find("strategy", name, _is_strategy)
    except PartError as error:
        raise StrategyError(str(error)) from error
    if not _is_strategy(found):
        raise StrategyError(f"{name}: {found!r} is not a subclass of clsim.Strategy")
    return found


def spec_of(strategy: str | type[Strategy], argument: str = "strategy") -> str:
    """Return the name of a strategy, by which a process of its own finds it, too.

    A class is named by its entry point, else by the file it stands in. Errors name the `argument` it was given as.

    Raises:
        StrategyError: neither a text nor a class of clsim.Strategy, or a class that no file gives by its name.
    """
    if isinstance(strategy, str):
        return strategy.strip()
    if not (inspect.isclass(strategy) and issubclass(strategy, Strategy)):
        text = " ".join(repr(strategy).split())
        raise StrategyError(
            f"{argument}: given {text}, expected a name, path/to/file.py:Class or a class of clsim.Strategy"
        )
    where = f"{strategy.__module__}:{strategy.__qualname__}"
    for name, point in registered().items():
        if point.value == where:
            return name
    try:
        path = Path(inspect.getfile(strategy))
    except (OSError, TypeError):  # typed into an interpreter or a notebook
        path = Path()
    if path.suffix != ".py" or not path.is_file() or not strategy.__qualname__.isidentifier():
        raise StrategyError(
            f"{argument}: the class {where} cannot be named as path/to/file.py:Class, which a run needs to find it; "
            "move it to the top level of a file"
        )
    return f"{path.resolve()}:{strategy.__qualname__}"


def report_section(kind: type[Strategy]) -> str:
    """Return the reference of the report section of a strategy, the path of a file made absolute; "" if it has none."""
    path, colon, name = kind.report_section.rpartition(":")
    if not path.endswith(".py"):
        return kind.report_section
    return f"{(Path(inspect.getfile(kind)).parent / path).resolve()}{colon}{name}"


def _is_strategy(found: Any) -> bool:
    return inspect.isclass(found) and issubclass(found, Strategy) and found is not Strategy


def accepts(spec: str, key: str) -> bool:
    """Tell whether a part of a strategy has the option `key`, such as "lwf.weight" or "weight".

    Raises:
        StrategyError: an unknown strategy.
    """
    return any(_accepts(kind, key) for kind in classes_of(spec))


def refuse_unknown_option(key: str, specs: Sequence[str]) -> NoReturn:
    """Raise StrategyError for an option that none of the strategies has."""
    raise StrategyError(_unknown_option(key, [kind for spec in specs for kind in classes_of(spec)]))


def preset_options(spec: str) -> dict[str, Any]:
    """Return the options that strategies which stand for others set for their parts: {"er.selection": "herding"}.

    Raises:
        StrategyError: an unknown strategy, or an option that none of its parts has.
    """
    return {key: value for part in named_in(spec) for key, value in _presets(strategy_class(part)).items()}


def named_in(spec: str) -> list[str]:
    """Return the names that a spec joins with +.

    Raises:
        StrategyError: one of them is empty.
    """
    parts = [part.strip() for part in spec.split("+")]
    if not all(parts):
        raise StrategyError(f"strategy {spec!r}: expected a name, or names joined with +, such as lwf+er")
    return parts


def classes_of(spec: str) -> list[type[Strategy]]:
    """Return the classes a spec stands for; a strategy that is made of others stands for them.

    Raises:
        StrategyError: an unknown strategy.
    """
    return [part for name in named_in(spec) for part in _stood_for(strategy_class(name))]


def _stood_for(kind: type[Strategy]) -> list[type[Strategy]]:
    """The parts that a strategy is made of, which may be made of others; itself if of none."""
    return [part for name in kind.made_of for part in _stood_for(strategy_class(name))] if kind.made_of else [kind]


def _presets(kind: type[Strategy]) -> dict[str, Any]:
    """The options that a strategy sets for its parts, over those that they set for theirs."""
    inner = {key: value for name in kind.made_of for key, value in _presets(strategy_class(name)).items()}
    if not kind.part_options:
        return inner
    classes = _stood_for(kind)
    for key in kind.part_options:
        if "." not in key or kind in classes or not any(_accepts(part, key) for part in classes):
            raise StrategyError(f"{name_of(kind)}: part_options: {_unknown_option(key, classes)}")
    return inner | with_absolute_paths(classes, kind.part_options, Path(inspect.getfile(kind)).parent)


def _accepts(kind: type[Strategy], key: str) -> bool:
    part, _, option = key.rpartition(".")
    return option in kind.Options.model_fields and part in ("", name_of(kind))


def absolute_options(spec: str, options: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return options with the relative paths among those that a strategy has made absolute, from `folder`."""
    return with_absolute_paths(classes_of(spec), options, folder)


def with_absolute_paths(classes: Sequence[type[Strategy]], options: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return options of parts with relative paths made absolute, from `folder`."""
    given = dict(options)
    for kind in classes:
        keys = {key.rpartition(".")[2]: key for key in sorted(given, key=lambda key: "." in key) if _accepts(kind, key)}
        own = {option: given[key] for option, key in keys.items()}
        make_absolute(own, kind.Options, folder)
        given |= {keys[option]: value for option, value in own.items()}
    return given


def parts_with_options(
    classes: Sequence[type[Strategy]], options: dict[str, Any], presets: Mapping[str, Any]
) -> list[Strategy]:
    """Return parts made of their classes with the options that are theirs, over those that a name sets.

    Raises:
        StrategyError: unknown or wrong options.
    """
    for key in options:
        if not any(_accepts(kind, key) for kind in classes):
            raise StrategyError(_unknown_option(key, classes))
    parts = []
    for kind in classes:
        general_first = sorted(options.items(), key=lambda item: "." in item[0])
        first_to_last = [*presets.items(), *general_first]
        own = {key.rpartition(".")[2]: value for key, value in first_to_last if _accepts(kind, key)}
        try:
            parts.append(kind(kind.Options(**own)))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join([name_of(kind), *map(str, first["loc"])])
            raise StrategyError(f"strategy option {where}: given {first['input']!r}, {first['msg']}") from None
    return parts


def _unknown_option(key: str, classes: Sequence[type[Strategy]]) -> str:
    allowed = list(
        dict.fromkeys(f"{name_of(kind)}.{option}" for kind in classes for option in kind.Options.model_fields)
    )
    hint = did_you_mean(key, [*allowed, *(name.rpartition(".")[2] for name in allowed)])
    return f"unknown strategy option {key!r}{hint}; allowed: {', '.join(allowed) or 'none'}"
