"""Every shipped scenario runs, in small."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import clsim
from clsim.scenario import shipped_scenarios


@pytest.mark.parametrize("name", shipped_scenarios())
def test_a_shipped_scenario_dry_runs(
    name: str, shipped_in_small: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    """One epoch of each of the first three tasks, or of all there are."""
    small = {**shipped_in_small(name), "training.epochs": 1, "threads": 1}
    scenario = clsim.load_scenario(name, small)
    plan = scenario.plan()
    tasks = plan.tasks[:3]
    if scenario.config.stream.blurry is not None:  # the number of tasks does not follow from the classes
        small["stream.blurry.tasks"] = len(tasks)
    elif scenario.config.stream.domains is not None:
        small["stream.domains.order"] = ["1", "2", "3"]
    else:
        small["dataset.classes"] = list(plan.class_names[: tasks[-1].classes[1]])
    if plan.online is not None:
        small |= {"strategy.er.replay": "paired", "strategy.er.selection": "reservoir"}
    result = clsim.run(name, "lwf+er", overrides=small, out=tmp_path).result
    assert len(result["mAP"]) == len(tasks)
    assert all(value is not None for value in result["mAP"])
