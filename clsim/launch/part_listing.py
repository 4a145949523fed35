"""What `clsim parts` shows: the kinds of parts, the names of a kind, the options of a part."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from clsim.errors import ClsimError, did_you_mean
from clsim.part_kinds import KINDS
from clsim.parts import described, names, stated_summary
from clsim.scenario.json_schema import options_schema
from clsim.training.composition import parts_of, preset_options

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
    """List the installed strategies, each with the first line of its docstring."""
    found: list[tuple[str, ...]] = [(name, stated_summary("strategy", name)) for name in names("strategy")]
    return Listing([], ("name", "what it does"), found)


def _strategies(spec: str) -> Listing:
    shown = Listing()
    presets = {f"strategy.{key}": json.dumps(value) for key, value in preset_options(spec).items()}
    for name, part in parts_of(spec).items():
        shown.lines.append(f"{name}: {(part.__doc__ or '').strip().partition(chr(10))[0]}")
        if part.made_of:
            shown.lines.append(f"made of {'+'.join(part.made_of)}; its options are those of its parts")
        shown.headings, rows = _options(part.Options, f"strategy.{name}.")
        shown.rows += [(key, allowed, presets.get(key, default), meaning) for key, allowed, default, meaning in rows]
    return shown


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
