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
    small = {**shipped_in_small(name), "training.epochs": 1, "threads": 1}
    result = clsim.run(name, "lwf+er", overrides=small, out=tmp_path).result
    tasks = len(clsim.load_scenario(name, shipped_in_small(name)).plan().tasks)
    assert len(result["mAP"]) == tasks
    assert all(value is not None for value in result["mAP"])
