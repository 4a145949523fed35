"""The JSON Schema for editors: options of shipped parts are checked, those of a user's own are free."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from clsim.launch.part_listing import list_parts
from clsim.part_kinds import KINDS
from clsim.scenario import shipped_scenarios
from clsim.scenario.json_schema import STRATEGY_OPTIONS, scenario_schema
from clsim.training.strategy_specs import registered


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return scenario_schema()


def refused(schema: dict[str, Any], section: str, value: object) -> list[str]:
    """Return what is wrong with the value of a section."""
    whole = {"$defs": schema["$defs"], "$ref": f"#/$defs/{section}"}
    return [error.message for error in jsonschema.Draft202012Validator(whole).iter_errors(value)]


def test_it_is_valid_and_shipped_scenarios_satisfy_it(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for path in shipped_scenarios().values():
        validator.validate(YAML(typ="safe", pure=True).load(path))


@pytest.mark.parametrize(
    ("section", "good", "bad"),
    [
        ("ModelSection", {"width": 8}, {"widht": 8}),
        ("ModelSection", {"width": 8}, {"width": "wide"}),
        ("OptimizerSection", {"betas": [0.9, 0.99]}, {"beta": 0.9}),
        ("SamplerSection", {}, {"turns": 2}),
        ("ScheduleSection", {"step_size": 3}, {"gamma": 0.5}),
        ("LoggerSection", {"mode": "offline"}, {"mode": "of"}),
    ],
)
def test_options_of_a_shipped_part_are_checked_and_those_of_an_own_part_are_free(
    schema: dict[str, Any], section: str, good: dict[str, Any], bad: dict[str, Any]
) -> None:
    names = {"SamplerSection": "shuffled", "ScheduleSection": "StepLR", "LoggerSection": "wandb"}
    named = {"name": names[section]} if section in names else {}  # else the part that stands there by default
    rest = {"lr": 0.1} if section == "OptimizerSection" else {}
    assert refused(schema, section, {**named, **rest, "options": good}) == []
    assert len(refused(schema, section, {**named, **rest, "options": bad})) == 1
    assert refused(schema, section, {"name": "my.py:Own", **rest, "options": bad}) == []


def test_required_options_are_asked_for(schema: dict[str, Any]) -> None:
    assert refused(schema, "ScheduleSection", {"name": "StepLR"}) == ["'options' is a required property"]
    assert refused(schema, "ScheduleSection", {"name": "one-cycle"}) == []


def test_every_shipped_part_that_takes_no_other_keywords_has_its_options(schema: dict[str, Any]) -> None:
    shown = {
        condition["if"]["properties"]["name"]["const"]
        for name, section in schema["$defs"].items()
        for condition in section.get("allOf", [])
        if name in ("SamplerSection", "ScheduleSection", "OptimizerSection", "LoggerSection")
    }
    assert shown == {name for kind in ("sampler", "schedule", "optimizer", "logger") for name in KINDS[kind].shipped}


def test_options_of_strategies_are_there_with_those_of_their_parts(schema: dict[str, Any]) -> None:
    assert list(schema["$defs"][STRATEGY_OPTIONS]["properties"]) == list(registered())
    assert refused(schema, STRATEGY_OPTIONS, {"lwf": {"weight": 0.5}, "er": {"selection": "herding"}}) == []
    assert refused(schema, STRATEGY_OPTIONS, {"lwf": {"wieght": 0.5}})
    assert refused(schema, STRATEGY_OPTIONS, {"er": {"selection": "herding", "selection_options": {"few": 1}}})
    assert not refused(schema, STRATEGY_OPTIONS, {"er": {"selection": "s.py:S", "selection_options": {"few": 1}}})


def test_options_of_types_that_json_does_not_have_are_listed_all_the_same() -> None:
    rows = {row[0]: row[1:3] for row in list_parts("backbone", "resnet18").rows}
    assert rows == {"weights": ("anything", "null"), "progress": ("boolean", "true")}
