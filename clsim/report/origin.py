"""Where runs come from: when they began, by which command, and what they change in a shipped scenario."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from clsim.data.path_options import path_options
from clsim.errors import ClsimError
from clsim.report.results import Results
from clsim.report.run_result import RunResult
from clsim.running.dotted_keys import flat
from clsim.scenario.document import read_document
from clsim.scenario.scenario import shipped_scenarios
from clsim.scenario.schema import ScenarioConfig
from clsim.scenario.validate import validate

ALWAYS_RESOLVED = ("threads", "stream.order_seed")
"""Keys whose value a run finds for itself, or a comparison gives."""


def dates(runs: Sequence[RunResult]) -> str:
    """Return the day, or the first and the last day, on which the runs began, in UTC; "" where none recorded it."""
    days = sorted({day for run in runs if (day := _day(run.environment.get("started")))})
    texts = [f"{day.day} {day:%B %Y}" for day in (days[0], days[-1])] if days else []
    return " to ".join(dict.fromkeys(texts))


def commands(runs: Sequence[RunResult]) -> list[str]:
    """Return the different command lines that made the runs."""
    found = []
    for run in runs:
        path = run.files.command
        found.append(path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else "")
    return [text for text in dict.fromkeys(found) if text]


def changed_keys(run: RunResult) -> dict[str, Any] | None:
    """Return the keys of a run's scenario that differ from the shipped one of that name; None: none is shipped."""
    shipped = _shipped(run.record.scenario)
    if shipped is None:
        return None
    own = flat(run.config)
    return {key: value for key, value in own.items() if key not in ALWAYS_RESOLVED and _differs(key, value, shipped)}


def _differs(key: str, value: Any, shipped: Mapping[str, Any]) -> bool:
    """Return whether a value is another one than the shipped; where a user keeps the data is no difference."""
    if key in _path_keys() and key in shipped:
        return shipped[key] is not None and Path(str(value)).name != Path(shipped[key]).name
    return key not in shipped or value != shipped[key]


@cache
def _path_keys() -> set[str]:
    return {".".join(keys) for keys in path_options(ScenarioConfig)}


def changes(results: Results) -> str:
    """Return `digits-b0c2 with 3 keys changed: training.epochs=2, ...`, `digits-b0c2 as shipped`, or ""."""
    run = results.stream_run
    changed = changed_keys(run)
    if changed is None or not run.config:
        return ""
    if not changed:
        return f"{run.record.scenario} as shipped"
    keys = "1 key" if len(changed) == 1 else f"{len(changed)} keys"
    return f"{run.record.scenario} with {keys} changed: {', '.join(f'{key}={_text(changed[key])}' for key in changed)}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value).replace("'", "").replace("None", "none")


def _day(started: Any) -> datetime.date | None:
    try:
        return datetime.datetime.fromisoformat(started).date()
    except (TypeError, ValueError):
        return None


@cache
def _shipped(name: str) -> dict[str, Any] | None:
    path = shipped_scenarios().get(name)
    if path is None:
        return None
    try:
        return flat(validate(read_document(path)).model_dump(mode="json"))
    except ClsimError:  # one that needs a package which is not installed here
        return None
