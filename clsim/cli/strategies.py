"""The command about methods: strategies."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from clsim.cli.tables import print_table


def strategies(
    name: Annotated[
        str | None, typer.Argument(help="show the options of one: a name, lwf+er, or path/to/file.py:Class")
    ] = None,
) -> None:
    """List the strategies, or the options of one."""
    from clsim.training.composition import parts_of, registered, strategy_class

    if name is None:
        print_table(("name", "what it does"), [(key, _first_line(strategy_class(key))) for key in registered()])
        return
    rows = []
    for part, kind in parts_of(name).items():
        typer.echo(f"{part}: {_first_line(kind)}")
        if kind.made_of:
            typer.echo(f"made of {'+'.join(kind.made_of)}; its options are those of its parts")
        fields = kind.Options.model_json_schema(by_alias=False).get("properties", {})
        rows += [
            (f"strategy.{part}.{key}", _allowed(field), json.dumps(field.get("default")), field.get("description", ""))
            for key, field in fields.items()
        ]
    if rows:
        print_table(("option", "allowed", "default", "meaning"), rows)
    else:
        typer.echo("no options")


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").strip().partition("\n")[0]


def _allowed(field: dict[str, Any]) -> str:
    if "enum" in field:
        return " | ".join(map(str, field["enum"]))
    if "const" in field:
        return str(field["const"])
    if "anyOf" in field:
        return " | ".join(_allowed(form) for form in field["anyOf"])
    limits = [f"{sign} {field[key]}" for key, sign in _LIMITS.items() if key in field]
    return " ".join([str(field.get("type", "")), *limits]).strip()


_LIMITS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
