"""The settings of a run as one level of dotted keys, as `--set` names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SECTIONS = ("stream", "labels", "memory", "training")
"""Sections of a scenario that are shown beside a run's results; the others are data, evaluation and description."""


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested mapping as one level of dotted keys, each with the prefix."""
    keys: dict[str, Any] = {}
    for key, value in table.items():
        keys |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return keys


def hyperparameters(config: Mapping[str, Any], strategy: str, seed: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings by which runs differ: scenario, strategy, options, seed, and the sections in SECTIONS.

    Args:
        config: the resolved scenario.
        options: of the strategy's parts, {"lwf": {"weight": 1.0}}.
    """
    identity = {"scenario": config["name"], "strategy": strategy, "seed": seed}
    return identity | flat(options, "strategy.") | flat({name: config[name] for name in SECTIONS})
