"""Where runs come from: dates, commands, and what they change in a shipped scenario."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from clsim.report.origin import changes, commands, dates
from clsim.report.results import load_results
from clsim.running.prepared_run import prepare
from clsim.running.run_spec import RunSpec
from clsim.scenario import load_scenario


def scenario_text(tmp_path: Path, overrides: Mapping[str, Any]) -> str:
    """The `config.yaml` of a run with overrides."""
    folder = tmp_path / "prepared"
    prepare(folder, load_scenario("digits-b0c2", overrides), RunSpec("er", "er", 0, "cpu"), threads=1)
    assert (folder / "command.txt").is_file()
    return (folder / "config.yaml").read_text()


def test_changes_of_a_shipped_scenario_are_counted_and_named(make_run: Callable[..., Path], tmp_path: Path) -> None:
    text = scenario_text(tmp_path, {"training.epochs": 2, "memory.budget": "none"})
    make_run(tmp_path / "runs", "er", scenario="digits-b0c2", config=text)
    said = changes(load_results(tmp_path / "runs"))
    assert said == "digits-b0c2 with 2 keys changed: memory.budget=none, training.epochs=2"


def test_where_the_data_are_is_no_change(make_run: Callable[..., Path], tmp_path: Path) -> None:
    scenario = load_scenario("voc-mlt", {"dataset.root": "/data/VOCdevkit"})
    config = json.dumps(scenario.config.model_dump(mode="json"))  # JSON is YAML
    make_run(tmp_path, "er", scenario="voc-mlt", config=config)
    assert changes(load_results(tmp_path)) == "voc-mlt as shipped"


def test_a_scenario_as_shipped_and_one_of_the_users_own(make_run: Callable[..., Path], tmp_path: Path) -> None:
    make_run(tmp_path / "runs", "er", scenario="digits-b0c2", config=scenario_text(tmp_path, {}))
    assert changes(load_results(tmp_path / "runs")) == "digits-b0c2 as shipped"
    make_run(tmp_path / "own", "er")
    assert changes(load_results(tmp_path / "own")) == ""


def test_dates_and_commands_of_all_runs(make_run: Callable[..., Path], tmp_path: Path) -> None:
    for seed, (day, command) in enumerate((("2026-11-03", "clsim run a"), ("2026-11-29", "clsim run b"), ("", ""))):
        folder = make_run(tmp_path, "er", seed)
        (folder / "environment.json").write_text(json.dumps({"started": f"{day}T12:00:00+00:00" if day else None}))
        (folder / "command.txt").write_text(f"{command}\n")
    runs = load_results(tmp_path).runs
    assert dates(runs) == "3 November 2026 to 29 November 2026"
    assert dates(runs[1:2]) == "29 November 2026"
    assert commands(runs) == ["clsim run a", "clsim run b"]
    assert dates(runs[2:]) == ""
