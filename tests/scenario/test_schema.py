"""The JSON Schema that editors use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from clsim.errors import ScenarioError
from clsim.scenario import load_scenario, shipped_scenarios
from clsim.scenario.schema import ScenarioConfig

SCHEMA: dict[str, Any] = ScenarioConfig.model_json_schema()


def read(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path)


@pytest.mark.parametrize("path", shipped_scenarios().values(), ids=lambda path: path.stem)
def test_shipped_scenarios_satisfy_it(path: Path) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(read(path))


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("stream", "incremnt", 2), ("stream", "increment", "2"), ("labels", "visible", "some"), ("memory", "budget", {})],
)
def test_it_refuses_what_the_reader_refuses(section: str, key: str, value: object) -> None:
    content = read(shipped_scenarios()["digits-b0c2"])
    content[section][key] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate(content)


def test_every_key_is_described() -> None:
    sections = {"scenario": SCHEMA, **SCHEMA["$defs"]}
    missing = [
        f"{name}.{key}"
        for name, section in sections.items()
        for key, field in section.get("properties", {}).items()
        if not field.get("description")
    ]
    assert missing == []


@pytest.mark.parametrize("freeze", ["none", "batch-norm"])
def test_features_of_a_backbone_that_learns_are_not_cached(freeze: str) -> None:
    keys = {"training.model.freeze": freeze, "training.model.cache_features": True}
    with pytest.raises(ScenarioError) as caught:
        load_scenario("digits-b0c2", keys)
    assert caught.value.problems == [
        "override training.model.cache_features: training.model.cache_features: given True, "
        f"allowed only with freeze: backbone, here it is {freeze}"
    ]


def test_features_are_cached_only_on_request() -> None:
    keys = {"training.model.freeze": "backbone"}
    assert not load_scenario("digits-b0c2", keys).config.training.model.cache_features
    assert load_scenario("digits-b0c2", {**keys, "training.model.cache_features": True})


def test_a_wrong_freeze_is_told_once() -> None:
    keys = {"training.model.freeze": "backbon", "training.model.cache_features": True}
    with pytest.raises(ScenarioError) as caught:
        load_scenario("digits-b0c2", keys)
    assert len(caught.value.problems) == 1
