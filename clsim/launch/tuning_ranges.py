"""The ranges of a search: `strategy.akd.gamma: {log_uniform: [0.1, 4]}`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clsim.errors import RunError, did_you_mean
from clsim.launch.variant_text import quoted
from clsim.launch.variants import refuse_other_sections
from clsim.scenario.document import plain

FORMS = {
    "uniform": "{uniform: [low, high]}",
    "log_uniform": "{log_uniform: [low, high]}",
    "int": "{int: [low, high]}",
    "choice": "{choice: [a, b, ...]}",
}


@dataclass(frozen=True)
class Range:
    """The values that one key may have.

    Attributes:
        kind: one of FORMS.
        values: lowest and highest value, both included; of a choice all values.
    """

    kind: str
    values: tuple[Any, ...]

    def suggest(self, trial: Any, key: str) -> Any:
        """Return the value of an Optuna trial. A choice is stored as JSON, because it may be a list."""
        if self.kind == "choice":
            return self.stored(trial.suggest_categorical(key, [json.dumps(value) for value in self.values]))
        low, high = self.values
        if self.kind == "int":
            return trial.suggest_int(key, low, high)
        return trial.suggest_float(key, low, high, log=self.kind == "log_uniform")

    def stored(self, value: Any) -> Any:
        """Return a value as the trial's storage holds it as what it is."""
        return json.loads(value) if self.kind == "choice" else value


def as_ranges(value: Any, origins: Mapping[str, str] | None = None) -> dict[str, Range]:
    """Return the ranges of a search by key.

    Args:
        value: key -> {form: values}, see FORMS.
        origins: key -> where it was written, for error messages.

    Raises:
        ClsimError: no ranges, a key that all trials must share, or what is no range.
    """
    if not isinstance(value, Mapping) or not value or not all(isinstance(key, str) for key in value):
        expected = "keys with ranges such as {'strategy.akd.gamma': {'log_uniform': [0.1, 4]}}"
        raise RunError(f"ranges: given {quoted(value)}, expected {expected}")
    found = {}
    for key, form in value.items():
        origin = (origins or {}).get(key, "range")
        refuse_other_sections([key], origin)
        found[key] = _range(plain(form, f"{origin} {key}"), f"{origin}: {key}" if origin != "range" else f"range {key}")
    return found


def _range(value: Any, what: str) -> Range:
    given = f"{what}: given {quoted(value)}"
    if not isinstance(value, dict) or len(value) != 1:
        raise RunError(f"{given}, expected {' or '.join(FORMS.values())}")
    ((kind, values),) = value.items()
    if kind not in FORMS:
        raise RunError(f"{what}: unknown range {kind!r}{did_you_mean(kind, FORMS)}; allowed: {', '.join(FORMS)}")
    if not isinstance(values, list) or len(values) < 2 or (kind != "choice" and len(values) != 2):
        raise RunError(f"{given}, expected {FORMS[kind]}")
    if kind == "choice":
        if len({json.dumps(one) for one in values}) < len(values):
            raise RunError(f"{given}, expected choices that differ")
        return Range(kind, tuple(values))
    allowed: Any = int if kind == "int" else (int, float)
    if not all(isinstance(one, allowed) and not isinstance(one, bool) and math.isfinite(one) for one in values):
        raise RunError(f"{given}, expected two {'whole' if kind == 'int' else 'finite'} numbers")
    low, high = values
    if not low < high or (kind == "log_uniform" and low <= 0):
        raise RunError(f"{given}, expected {'0 < ' if kind == 'log_uniform' else ''}low < high")
    return Range(kind, (low, high) if kind == "int" else (float(low), float(high)))
