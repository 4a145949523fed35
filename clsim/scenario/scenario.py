"""Scenario: a validated configuration with its data, plan and benchmark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from importlib import resources
from os.path import isfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clsim.data.digits import Digits
from clsim.data.source import ImageSource
from clsim.errors import ScenarioError, did_you_mean
from clsim.scenario.document import Document, parse_assignment, read_document
from clsim.scenario.plan import StreamPlan
from clsim.scenario.planning import build_plan, class_order
from clsim.scenario.schema import ScenarioConfig
from clsim.scenario.validate import validate

if TYPE_CHECKING:
    from clsim.scenario.stream import MultiLabelBenchmark


class Scenario:
    """One stream that every strategy meets.

    Attributes:
        config: the validated configuration.
        source: images and true labels.
    """

    def __init__(self, config: ScenarioConfig, source: ImageSource | None = None) -> None:
        self.config = config
        self.source: ImageSource = source or Digits(config.dataset.generator())

    @property
    def name(self) -> str:
        return self.config.name

    def plan(self) -> StreamPlan:
        """The stream, extensionally: needs labels, no images; computed once."""
        return self._plan

    @cached_property
    def _plan(self) -> StreamPlan:
        source = self.source
        return build_plan(self.config, source.class_names, source.labels("train"), source.labels("test"))

    def truth(self) -> NDArray[np.int8]:
        """True training labels in stream order, int8 [N, C]: for evaluators and derived plans, never for a learner."""
        order = class_order(self.config.stream, self.source.class_names)
        return np.ascontiguousarray(self.source.labels("train")[:, order])

    def benchmark(self, plan: StreamPlan | None = None) -> MultiLabelBenchmark:
        """The Avalanche benchmark of `plan`, by default the scenario's own; imports torch and Avalanche."""
        from clsim.scenario.stream import MultiLabelBenchmark

        return MultiLabelBenchmark(plan or self.plan(), self.source, self.config.training.model.image_size)


def shipped_scenarios() -> dict[str, Path]:
    """Name -> file of the scenarios that come with clsim, sorted by name."""
    folder = Path(str(resources.files("clsim.scenarios")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_scenario(scenario: str | Path, overrides: Mapping[str, Any] | Iterable[str] = ()) -> Scenario:
    """Read a scenario by path or shipped name.

    Args:
        scenario: path of a YAML file, or a name such as "digits-b0c2".
        overrides: `{"training.epochs": 2}`, or texts such as "training.epochs=2" with a YAML value.

    Raises:
        ScenarioError: no such scenario, or problems in it, each with file, line and key.
    """
    document = read_document(_find(scenario))
    if isinstance(overrides, Mapping):
        for dotted, value in overrides.items():
            document.override(dotted, value, f"override {dotted}")
    else:
        for text in overrides:
            document.override(*parse_assignment(text), f"--set {text}")
    return Scenario(validate(document))


def scenario_from_dict(data: Mapping[str, Any], name: str = "scenario") -> Scenario:
    """A scenario from plain data, such as a run folder's resolved configuration."""
    return Scenario(validate(Document(name, dict(data))))


def _find(scenario: str | Path) -> Path:
    path = Path(scenario)
    if path.suffix in (".yaml", ".yml") or isfile(path):  # unlike is_file, False for an impossible name
        return path
    shipped = shipped_scenarios()
    if str(scenario) not in shipped:
        hint = did_you_mean(scenario, shipped)
        raise ScenarioError([f"{scenario}: no such file or shipped scenario{hint}; shipped: {', '.join(shipped)}"])
    return shipped[str(scenario)]
