"""A variant as a text: "er(selection=herding) as herding"; and what may be a label."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from clsim.errors import StrategyError
from clsim.running.run_spec import folder_name_problem
from clsim.scenario.document import parse_value

LONGEST_LABEL = 100
_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_ORDER = re.compile(r"order\d+")


def parse_variant(text: str) -> tuple[str, str | None, dict[str, Any]]:
    """Return strategy, label and settings of "er(selection=herding) as herding"."""
    what = f"strategy {text!r}"
    body, as_, label = text.rpartition(" as ")
    if not as_:
        body, label = text, ""
    body = body.strip()
    begin = next(
        (begin for end, begin in _outside(body, what) if begin is not None and end == len(body) - 1), len(body)
    )
    spec = body[:begin].strip()
    if "(" in spec and ".py" not in spec:
        raise StrategyError(f"{what}: settings stand behind all parts, such as lwf+er(lwf.weight=2)")
    settings: dict[str, Any] = {}
    for setting in split_at_commas(body[begin + 1 : -1], what):
        key, equals, value = setting.partition("=")
        key = key.strip().removeprefix("strategy.")
        if not equals or not key:
            raise StrategyError(f"{what}: given {setting!r} in parentheses, expected option=value")
        if key in settings:
            raise StrategyError(f"{what}: {key} is set twice")
        settings[key] = parse_value(value, f"{what}: {key}")
    return spec, label if as_ else None, settings


def check_label(value: Any, argument: str = "label") -> str:
    """Return a label without blanks around it. Errors name the `argument` it was given as.

    Raises:
        StrategyError: it cannot name a folder, a curve and a row.
    """
    label = value.strip() if isinstance(value, str) else value
    if not isinstance(label, str) or not label:
        problem: str | None = "a text"
    elif (problem := folder_name_problem(label)) is not None:
        pass
    elif len(label.encode()) > LONGEST_LABEL:
        problem = f"at most {LONGEST_LABEL} bytes"
    elif _ORDER.fullmatch(label):
        problem = "another one: order<k> names a class order"
    if problem is not None:
        raise StrategyError(f"{argument}: given {quoted(value)}, expected {problem}")
    return str(label)


def split_at_commas(text: str, what: str) -> list[str]:
    """Return the parts of a text between commas, stripped; those in brackets and quotes do not separate.

    Raises:
        StrategyError: a bracket is closed that was not opened, or not closed; with `what`.
    """
    places = [place for place, opening in _outside(text, what) if text[place] == "," and opening is None]
    bounds = zip([-1, *places], [*places, len(text)], strict=True)
    return [text[begin + 1 : end].strip() for begin, end in bounds] if text.strip() else []


def settings_text(settings: Mapping[str, Any]) -> str:
    """Return settings as they stand in parentheses."""
    return ",".join(f"{key}={_value_text(value)}" for key, value in settings.items())


def _value_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _outside(text: str, what: str) -> Iterator[tuple[int, int | None]]:
    """Yield the places of commas outside brackets, and those where a bracket ends that is in no other one.

    Beside each stands the place where that bracket begins, or None. What is in quotes is passed over.
    """
    opened: list[int] = []
    quote = ""
    for place, one in enumerate(text):
        if quote:
            quote = "" if one == quote else quote
        elif one in "\"'" and (place == 0 or text[place - 1] in " ,=([{:"):
            quote = one
        elif one in _BRACKETS:
            opened.append(place)
        elif one in _BRACKETS.values():
            if not opened or _BRACKETS[text[begin := opened.pop()]] != one:
                raise StrategyError(f"{what}: {one!r} closes no bracket")
            if not opened:
                yield place, begin
        elif one == "," and not opened:
            yield place, None
    if opened or quote:
        raise StrategyError(f"{what}: expected {_BRACKETS[text[opened[-1]]] if opened else quote!r} at the end")


def quoted(value: object) -> str:
    """Return a value in one line that is not too long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= LONGEST_LABEL else f"{text[:LONGEST_LABEL]}..."
