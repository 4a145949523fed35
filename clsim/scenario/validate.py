"""From a document to a validated configuration, or to one line per problem."""

from __future__ import annotations

import re
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from clsim.errors import ScenarioError, did_you_mean
from clsim.parts import brought
from clsim.scenario.document import Document, KeyPath
from clsim.scenario.schema import ONLY_IN_PYTHON, OwnSection, ScenarioConfig

LONGEST_SHOWN = 240
"""Characters of a value in an error; of a longer one both ends, because the end of a path tells most."""

_MOST_PROBLEMS = 20
_Model = TypeVar("_Model", bound=BaseModel)


def validate(document: Document) -> ScenarioConfig:
    """Check a document against the schema of a scenario.

    Raises:
        ScenarioError: see `checked`.
    """
    return checked(document, ScenarioConfig)


def checked(document: Document, model: type[_Model]) -> _Model:
    """Check a document against a model.

    Raises:
        ScenarioError: with the first twenty problems of the document, each
            `file:line: key.path: given, allowed, did you mean`.
    """
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        raise ScenarioError(_problems(document, error, model)) from None


def _problems(document: Document, error: ValidationError, model: type[BaseModel]) -> list[str]:
    by_path: dict[KeyPath, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        by_path.setdefault(_data_path(document.data, detail), []).append(detail)
    around = {path[:end] for path in by_path for end in range(len(path))}  # of a union: the form that came closest
    paths = sorted((path for path in by_path if path not in around), key=document.line)
    shown = [document.problem(path, _describe(document, model, path, by_path[path])) for path in paths[:_MOST_PROBLEMS]]
    if more := paths[_MOST_PROBLEMS:]:
        shown.append(f"{document.origin(more[0])}: and {len(more)} more problems from here on")
    return shown


def _data_path(data: Any, detail: ErrorDetails) -> KeyPath:
    """pydantic's location without the union tags it puts between the keys that were written."""
    path: list[str | int] = []
    location = detail["loc"]
    for position, part in enumerate(location):
        last = position == len(location) - 1
        if _has(data, part):
            data = data[part]
        elif not (last and detail["type"] == "missing"):
            continue
        path.append(part)
    context = detail.get("ctx", {})
    if detail["type"] in ("union_tag_invalid", "union_tag_not_found") and isinstance(data, dict):
        discriminator = context["discriminator"].strip("'")
        path.append("name" if discriminator.endswith("()") else discriminator)  # a function that tells by the name
    return (*path, *context.get("below", ()))


def _describe(document: Document, model: type[BaseModel], path: KeyPath, details: list[ErrorDetails]) -> str:
    detail = details[0]
    kind = detail["type"]
    if kind == "extra_forbidden":
        allowed = _allowed_keys(document.data, path, model)
        return f"unknown key{did_you_mean(path[-1], allowed)}; allowed: {', '.join(allowed)}"
    if kind == "missing":
        return "required key is missing"
    if kind == "absent":
        return str(detail["ctx"]["text"])
    given = _value(document.data, path) if path else None
    if kind == "union_tag_not_found":
        inside = isinstance(_value(document.data, path[:-1]), dict) and path[-1:] == ("name",)
        return "required key is missing" if inside else f"given {_shown(given)}, should be a mapping of keys"
    if kind == "union_tag_invalid":
        names = [name for name in _names(detail["ctx"]["expected_tags"]) if name != ONLY_IN_PYTHON]
        return f"given {_shown(given)}, allowed: {', '.join(names)}{did_you_mean(given, names)}"
    if kind == "string_pattern_mismatch":
        return f"given {_shown(given)}, allowed: letters, digits and . _ -, a letter or digit first"
    if kind == "literal_error":
        names = [name for d in details if d["type"] == "literal_error" for name in _expected(d)]
        others = [_plain(d["msg"]).removeprefix("should be ") for d in details if d["type"] != "literal_error"]
        allowed_text = ", ".join([*names, *others])
        return f"given {_shown(given)}, allowed: {allowed_text}{did_you_mean(given, names)}"
    text = " or ".join(dict.fromkeys(_plain(d["msg"]) for d in details))
    if kind == "one_of" and isinstance(given, dict) and len(given) != 1:
        text += " (one of them, not several)"
    elif kind == "one_of":
        text += did_you_mean(next(iter(given)) if isinstance(given, dict) else given, re.findall(r"[a-z][\w-]+", text))
    return f"given {_shown(given)}, {text}" if path else text


def _expected(detail: ErrorDetails) -> list[str]:
    return _names(detail.get("ctx", {}).get("expected", ""))


def _names(text: str) -> list[str]:
    return [name.strip().strip("'") for part in text.split(" or ") for name in part.split(",") if name.strip()]


def _plain(message: str) -> str:
    """pydantic's text without the names of its own types."""
    text = re.sub(
        r"valid dictionary or (instance of \w+|object to extract fields from)",
        "mapping of keys",
        message.removeprefix("Value error, "),
    )
    text = re.sub(r"^(Input|String|List|Tuple) should", "should", text)
    return text.replace("a valid list", "a list").replace("a valid boolean", "true or false")


def _value(data: Any, path: KeyPath) -> Any:
    for part in path:
        if not _has(data, part):
            return None
        data = data[part]
    return data


def _has(data: Any, part: str | int) -> bool:
    return part in data if isinstance(data, dict) else isinstance(data, list) and part in range(len(data))


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN // 2] + " ... " + text[-LONGEST_SHOWN // 2 :]


def _allowed_keys(data: Any, path: KeyPath, section: type[BaseModel]) -> list[str]:
    """Keys of the section that holds the unknown key at `path`; of a union, those of the form that was meant."""
    *sections, unknown = path
    for part in sections:
        data = data[part]
        if isinstance(part, int):
            continue
        field = section.model_fields.get(str(part))
        models = _models(field.annotation) if field else []
        models = [model for model in models if unknown not in model.model_fields] or models or [section]
        section = max(models, key=lambda model: _likeness(model, data))
    return list(section.model_fields)


def _likeness(model: type[BaseModel], data: Any) -> tuple[bool, int]:
    """Whether the model is the one that `data` names, and how many of its keys are there."""
    if not isinstance(data, dict):
        return False, 0
    field = model.model_fields.get("name")
    name = str(data.get("name"))
    named = field is not None and (
        name in get_args(field.annotation) or (model is OwnSection and brought("dataset", name))
    )
    return named, len(model.model_fields.keys() & data.keys())


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]
