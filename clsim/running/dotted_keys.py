"""The settings of a run as one level of dotted keys, as `--set` names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SECTIONS = ("stream", "labels", "memory", "training")
"""What of a scenario is told beside a run's results; the rest is data, evaluation and description."""


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping as one level of dotted keys, each with the prefix."""
    keys: dict[str, Any] = {}
    for key, value in table.items():
        keys |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return keys


def hyperparameters(config: Mapping[str, Any], strategy: str, seed: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """What tells runs apart: scenario, strategy with its options, seed, and the sections named in SECTIONS.

    Args:
        config: the resolved scenario.
        options: of the strategy's parts, {"lwf": {"weight": 1.0}}.
    """
    identity = {"scenario": config["name"], "strategy": strategy, "seed": seed}
    return identity | flat(options, "strategy.") | flat({name: config[name] for name in SECTIONS})
