"""A search as a YAML file, for `clsim tune search.yaml` and `clsim.tune("search.yaml")`.

tuning:
  scenario: digits-b0c2
  strategy: akd+er
  validation: 0.25
  ranges:
    strategy.akd.gamma: {log_uniform: [0.1, 4]}
    strategy.er.selection: {choice: [random, herding]}
    training.epochs: {int: [4, 12]}
  trials: 20
  seeds: [0, 1]
  test_seeds: 10-14
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from clsim.launch.comparison_file import Place, content_of
from clsim.scenario.section import PositiveInt, Section
from clsim.scenario.validate import checked

KEY = "tuning"


class TuningSection(Section):
    scenario: str | dict[str, Any] = Field(description="a shipped name, a path, or the content of a scenario file")
    strategy: str = Field(description="a name, lwf+er, or path/to/file.py:Class, perhaps with settings")
    ranges: dict[str, Any] = Field(description="key -> {uniform | log_uniform | int: [a, b]} or {choice: [a, b, ...]}")
    trials: PositiveInt | None = Field(None, description="how many; default: 20")
    seeds: list[int] | str | None = Field(None, description="training seeds of each trial; default: 0")
    test_seeds: list[int] | str | None = Field(None, description="seeds on test images; default: five new ones")
    validation: float | None = Field(None, gt=0, lt=1, description="share held out; default: the scenario's")
    objective: str | None = Field(None, description="default: avg_mAP")
    overrides: dict[str, Any] = Field({}, description="keys of the scenario, and strategy.*")
    batch: PositiveInt | None = Field(None, description="trials that are chosen at a time; default: 4")
    seed: int | None = Field(None, description="of the choices; default: 0")
    name: str | None = Field(None, description="of the folder of the search")


class TuningFile(Section):
    """The whole file."""

    tuning: TuningSection


def tuning_of(value: Any) -> dict[str, Any] | None:
    """Return the arguments of `clsim.tune` that a file, or a mapping of its content, holds; None: a scenario.

    The keys "origins" and "range_origins" are where each override and range was written.

    Raises:
        ClsimError: an error in the file, with file, line and key.
    """
    found = content_of(value, KEY)
    if found is None:
        return None
    document, folder = found
    section = checked(document, TuningFile).tuning
    at = Place(document, folder, (KEY,))
    variant = at.below("strategy").variant(section.strategy)
    overrides, origins = at.overrides(section.overrides, [variant])
    given = {key: value for key, value in section.model_dump().items() if value is not None}
    for key in ("seeds", "test_seeds"):
        if key in given:
            given[key] = at.seeds(given[key], key)
    return {
        **given,
        "scenario": at.scenario(section.scenario),
        "strategy": variant,
        "overrides": overrides,
        "origins": origins,
        "range_origins": {key: document.origin((KEY, "ranges", key)) for key in section.ranges},
    }
