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
    plan = clsim.load_scenario(name, small).plan()
    tasks = plan.tasks[:3]
    last = tasks[-1].classes[1]
    small["dataset.classes"] = list(plan.class_names[:last])
    if plan.online is not None:
        small |= {"strategy.er.replay": "paired", "strategy.er.selection": "reservoir"}
    result = clsim.run(name, "lwf+er", overrides=small, out=tmp_path).result
    assert len(result["mAP"]) == len(tasks)
    assert all(value is not None for value in result["mAP"])
