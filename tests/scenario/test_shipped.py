"""Every scenario that comes with clsim loads, plans and says how to launch it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from clsim.scenario import load_scenario, shipped_scenarios

SHIPPED = shipped_scenarios()


def test_all_files_of_the_folder_are_shipped() -> None:
    folder = Path(__file__).parents[2] / "scenarios"
    assert sorted(SHIPPED) == sorted(path.stem for path in folder.glob("*.y*ml"))
    assert "digits-b0c2" in SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_it_loads_by_name_and_by_path_and_plans(name: str) -> None:
    plan = load_scenario(name).plan()
    assert load_scenario(SHIPPED[name]).plan().sha256 == plan.sha256


@pytest.mark.parametrize("name", SHIPPED)
def test_its_name_is_its_files_name(name: str) -> None:
    assert load_scenario(name).name == name


@pytest.mark.parametrize("name", SHIPPED)
def test_its_first_line_launches_it(name: str) -> None:
    first = SHIPPED[name].read_text(encoding="utf-8").partition("\n")[0]
    words = shlex.split(first.removeprefix("# "))
    assert first.startswith("# clsim ")
    assert words[1] in ("compare", "run")
    assert words[2] in (name, f"scenarios/{name}.yaml")
