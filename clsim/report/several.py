"""Runs of several comparisons on one stream, read as one comparison."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from clsim.errors import RunError
from clsim.report.results import Results
from clsim.report.run_result import RunResult
from clsim.running.dotted_keys import SECTIONS, flat


def together(parts: Sequence[Results]) -> Results:
    """Return the runs of several folders as those of one comparison.

    Runs of one name and equal settings are one strategy, whose seeds may stand in several folders. The same seed twice
    counts once, from the first folder. Of one name and different settings, those of the later folder are named after
    it: `er [other]`.

    Raises:
        RunError: the streams differ, or what is scored on them.
    """
    _refuse_other_streams(parts)
    labels = _folder_labels([part.directory for part in parts])
    settings: dict[str, str] = {}
    runs: dict[str, RunResult] = {}
    for part, label in zip(parts, labels, strict=True):
        renamed = {
            name: f"{name} [{label}]"
            for name in part.strategies
            if settings.setdefault(name, _settings(part.of(name)[0])) != _settings(part.of(name)[0])
        }
        for run in part.runs:
            if run.strategy in renamed:
                run = replace(run, record=replace(run.record, strategy=renamed[run.strategy]))
            runs.setdefault(run.name, run)
    upper = {run.strategy for run in runs.values() if run.record.reference == "upper"}
    places = {name: place for place, name in enumerate(dict.fromkeys(run.strategy for run in runs.values()))}
    ordered = sorted(runs.values(), key=lambda run: (run.strategy in upper, places[run.strategy], run.seed))
    return Results(parts[0].directory, tuple(ordered), tuple(run for part in parts for run in part.unfinished))


def _settings(run: RunResult) -> str:
    """Return everything by which runs of one stream can differ, besides the seed, as a text that can be compared."""
    sections = {name: run.config.get(name) for name in SECTIONS}
    return json.dumps([run.record.options, flat(sections)], sort_keys=True, default=str)


def _refuse_other_streams(parts: Sequence[Results]) -> None:
    streams: dict[str, list[str]] = {}
    counting: dict[str, list[str]] = {}
    for part in parts:
        run = part.stream_run
        streams.setdefault(run.stream, []).append(f"{part.directory} ({run.record.scenario})")
        evaluation: Any = run.config.get("evaluation") or {}
        counting.setdefault(str(evaluation.get("empty_classes", "skip")), []).append(str(part.directory))
    if len(streams) > 1:
        lines = [f"  plan {stream}: {', '.join(names)}" for stream, names in streams.items()]
        raise RunError("\n".join(["these comparisons met different streams and cannot be reported together:", *lines]))
    if len(counting) > 1:
        texts = "; ".join(f"{value}: {', '.join(names)}" for value, names in counting.items())
        raise RunError(f"evaluation.empty_classes differs, so that mAP means something else: {texts}")


def _folder_labels(folders: Sequence[Path]) -> list[str]:
    """Return for each folder the shortest end of its path that no other one has."""
    parts = [folder.resolve().parts for folder in folders]
    labels = []
    for own in parts:
        length = next(n for n in range(1, len(own) + 1) if [other[-n:] for other in parts].count(own[-n:]) == 1)
        labels.append("/".join(own[-length:]))
    return labels
