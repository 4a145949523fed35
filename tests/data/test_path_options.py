"""Options that are paths: found by the mark at their declaration, wherever that is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, Field

from clsim.data.path_options import DATA_PATH, FILE_CONTENT, path_options
from clsim.option_marks import marked_options
from clsim.parts import PartOption
from clsim.running.run_identity import identity
from clsim.scenario import Scenario, load_scenario
from clsim.scenario.schema import ScenarioConfig

MARKED = {
    ("dataset", "root"): DATA_PATH,
    ("dataset", "ids"): DATA_PATH,
    ("dataset", "file"): DATA_PATH,
    ("dataset", "train_file"): DATA_PATH,
    ("dataset", "test_file"): DATA_PATH,
    ("dataset", "image_folder"): DATA_PATH,
    ("dataset", "validation_ids"): DATA_PATH,
    ("dataset", "test_ids"): DATA_PATH,
    ("stream", "assignment", "given"): DATA_PATH,
    ("evaluation", "images", "given"): DATA_PATH,
    ("labels", "long_tail", "ids"): DATA_PATH,
    ("labels", "visible", "confidences"): DATA_PATH,
    ("training", "model", "weights", "file"): FILE_CONTENT,
}


class Inner(BaseModel):
    file: Annotated[str | None, DATA_PATH] = Field(None, min_length=1)
    name: str = "plain"


class Outer(BaseModel):
    one: Inner | str = "none"
    several: list[Inner] | None = None
    weights: Annotated[str, FILE_CONTENT] = "none"


def test_marks_are_found_in_sections_and_in_forms_of_a_union() -> None:
    expected = {("one", "file"): DATA_PATH, ("several", "file"): DATA_PATH, ("weights",): FILE_CONTENT}
    assert path_options(Outer) == expected


def test_a_scenarios_paths_are_marked() -> None:
    assert path_options(ScenarioConfig) == MARKED


def test_every_option_described_as_relative_to_the_scenario_is_marked() -> None:
    """Whoever adds a path describes it so; without the mark it would depend on the working directory."""
    schema = ScenarioConfig.model_json_schema()
    described = {
        (section, key)
        for section, content in schema["$defs"].items()
        for key, field in content.get("properties", {}).items()
        if "relative to the scenario" in field.get("description", "")
    }
    marked = {keys[-1] for keys in (*MARKED, *marked_options(ScenarioConfig, PartOption))}
    assert described
    assert {key for _, key in described} <= marked


@pytest.mark.parametrize("folder", ["here", "there"])
def test_weights_count_by_content_wherever_they_lie(
    tiny: Scenario, tiny_overrides: dict, tmp_path: Path, folder: str
) -> None:
    def identified(content: bytes) -> dict:
        (tmp_path / folder).mkdir(exist_ok=True)
        path = tmp_path / folder / "weights.pth"
        path.write_bytes(content)
        weights = {"file": str(path), "trained_on": ["x"], "source": "x"}
        scenario = load_scenario("digits-b0c2", tiny_overrides | {"training.model.weights": weights})
        return identity(scenario, "finetune", {}, seed=0, device="cpu", threads=1)

    one, other = identified(b"1"), identified(b"2")
    assert {key for key in one if one[key] != other[key]} == {"training.model.weights.file"}
    assert str(tmp_path) not in str(one)
