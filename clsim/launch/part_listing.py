"""What `clsim parts` shows: the kinds of parts, the names of a kind, the options of a part."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, get_args

from pydantic import BaseModel

from clsim.errors import ClsimError, StrategyError, did_you_mean
from clsim.part_kinds import KINDS
from clsim.parts import described, names, stated_summary
from clsim.scenario.json_schema import options_schema
from clsim.training.composition import parts_of
from clsim.training.strategy import Strategy
from clsim.training.strategy_specs import preset_options, strategy_class
from clsim.vocabulary import Family

_LIMITS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


@dataclass
class Listing:
    """Lines of text, and below them a table.

    Attributes:
        rows: one text per heading; without any there is no table.
    """

    lines: list[str] = field(default_factory=list)
    headings: tuple[str, ...] = ()
    rows: list[tuple[str, ...]] = field(default_factory=list)


def list_parts(kind: str | None, name: str | None) -> Listing:
    """List all kinds, or the names of a kind, or the options of a part, which is imported or executed for that.

    Args:
        kind: such as "loss"; None: all.
        name: of the part, or path/to/file.py:Name; None: all of the kind.

    Raises:
        ClsimError: no such kind or part.
    """
    if kind is None:
        return Listing(
            [], ("kind", "what it is", "entry points"), [(k.name, k.contract, k.group) for k in KINDS.values()]
        )
    if kind not in KINDS:
        raise ClsimError(f"unknown kind {kind!r}{did_you_mean(kind, KINDS)}; allowed: {', '.join(KINDS)}")
    if name is not None:
        return _strategies(name) if kind == "strategy" else _part(kind, name)
    shown = Listing(
        [
            f"{kind}: {KINDS[kind].contract}",
            f"of your own: path/to/file.py:Name, or an entry point in {KINDS[kind].group}",
        ]
    )
    shown.lines += [f"{prefix}/NAME: of {one.package}" for prefix, one in KINDS[kind].libraries.items()]
    shown.headings = ("name", "what it does", "where")
    shown.rows = [(name, stated_summary(kind, name), place) for name, place in names(kind).items()]
    return shown


def _part(kind: str, name: str) -> Listing:
    summary, options = described(kind, name)
    return Listing([f"{name}: {summary}".removesuffix(": ")], *_options(options, ""))


def list_strategies() -> Listing:
    """List the installed strategies by family and year, each with what it does, stores and costs.

    One that cannot be imported is listed with the first line of its docstring.
    """
    families = get_args(Family)
    found: list[tuple[int, int, tuple[str, ...]]] = []
    for name in names("strategy"):
        summary = stated_summary("strategy", name)
        try:
            kind = strategy_class(name)
        except StrategyError:
            kind = Strategy
        place = families.index(kind.family) if kind.family in families else len(families)
        year = "" if kind.year is None else str(kind.year)
        found.append((place, kind.year or 0, (name, kind.family, year, summary, kind.stores, kind.cost)))
    return Listing([], ("name", "family", "year", "what it does", "stores", "cost"), [row for *_, row in sorted(found)])


def bibliography(spec: str | None) -> list[str]:
    """Return the BibTeX entries of the parts of a strategy, each once; None: of all installed strategies.

    Raises:
        StrategyError: an unknown strategy, or parts that cannot be combined.
    """
    kinds: list[type[Strategy]] = []
    for name in names("strategy") if spec is None else [spec]:
        try:
            kinds += parts_of(name).values()
        except StrategyError:
            if spec is not None:
                raise
    entries = (entry.strip() for kind in kinds for entry in kind.bib.split("\n\n"))
    return list(dict.fromkeys(entry for entry in entries if entry))


def _strategies(spec: str) -> Listing:
    shown = Listing()
    presets = {f"strategy.{key}": json.dumps(value) for key, value in preset_options(spec).items()}
    for name, part in parts_of(spec).items():
        shown.lines.append(f"{name}: {(part.__doc__ or '').strip().partition(chr(10))[0]}")
        shown.lines += facts(part)
        if part.made_of:
            shown.lines.append(f"made of {'+'.join(part.made_of)}; its options are those of its parts")
        shown.headings, rows = _options(part.Options, f"strategy.{name}.")
        shown.rows += [(key, allowed, presets.get(key, default), meaning) for key, allowed, default, meaning in rows]
    return shown


def facts(kind: type[Strategy]) -> list[str]:
    """Return what a strategy states of itself, one line per fact: its family and year, what it stores and costs."""
    year = "" if kind.year is None else f", {kind.year}"
    stated = {"family": f"{kind.family}{year}", "stores": kind.stores, "cost": kind.cost}
    return [f"{fact}: {text}" for fact, text in stated.items() if text]


def _options(model: type[BaseModel] | None, prefix: str) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Headings and rows of a table of options."""
    rows: list[tuple[str, ...]] = []
    schema = options_schema(model) if model is not None else {}
    for name, option in (model.model_fields if model is not None else {}).items():
        shown = schema["properties"][name]
        if "const" in shown:  # the name of a data set in its own options
            continue
        default = "required" if option.is_required() else json.dumps(shown.get("default"))
        rows.append((f"{prefix}{name}", allowed(shown), default, shown.get("description", "")))
    return ("option", "allowed", "default", "meaning"), rows


def allowed(field: dict[str, Any]) -> str:
    """Say what a field of a JSON Schema may hold."""
    if "enum" in field:
        return " | ".join(map(str, field["enum"]))
    if "const" in field:
        return str(field["const"])
    if "anyOf" in field:
        return " | ".join(allowed(form) for form in field["anyOf"])
    limits = [f"{sign} {field[key]}" for key, sign in _LIMITS.items() if key in field]
    return " ".join([str(field.get("type", "anything")), *limits])
