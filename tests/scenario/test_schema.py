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


def augmented(section: object, **more: object) -> list[str]:
    """What is wrong with a scenario of that augmentation."""
    with pytest.raises(ScenarioError) as caught:
        load_scenario("digits-b0c2", {"training.augmentation": section, **more})
    return [
        problem.replace("override training.augmentation: training.augmentation", "")
        for problem in caught.value.problems
    ]


def test_no_image_is_changed_unless_asked_for() -> None:
    assert load_scenario("digits-b0c2").config.training.augmentation == "none"


def test_options_of_augmentation_are_optional_and_have_defaults() -> None:
    section = load_scenario(
        "digits-b0c2", {"training.augmentation.randaugment.operations": 1}
    ).config.training.augmentation
    assert not isinstance(section, str)
    assert (section.random_resized_crop, section.flip, section.colour, section.cutout) == (None, 0.0, None, 0.0)
    assert section.randaugment is not None
    assert section.randaugment.model_dump() == {"operations": 1, "magnitude": 9.0, "probability": 1.0, "pool": "paper"}


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ("all", ": given 'all', allowed: none, a mapping of keys"),
        (
            {"flipp": 0.5},
            ".flipp: unknown key, did you mean 'flip'?; "
            "allowed: random_resized_crop, flip, colour, cutout, randaugment, name, options",
        ),
        ({"flip": 1.5}, ".flip: given 1.5, should be less than or equal to 1"),
        ({"colour": {"hue": 0.6}}, ".colour.hue: given 0.6, should be less than or equal to 0.5"),
        (
            {"colour": {"hu": 0.6}},
            ".colour.hu: unknown key, did you mean 'hue'?; allowed: brightness, contrast, saturation, hue",
        ),
        (
            {"random_resized_crop": {"scale": [0.9, 0.3]}},
            ".random_resized_crop.scale: given [0.9, 0.3], allowed: the smaller number first",
        ),
        (
            {"random_resized_crop": {"ratio": [1.0]}},
            ".random_resized_crop.ratio: given [1.0], should have at least 2 items after validation, not 1",
        ),
        (
            {"randaugment": {"pool": "paperr"}},
            ".randaugment.pool: given 'paperr', allowed: paper, krt, did you mean 'paper'?",
        ),
        (
            {"randaugment": {"magnitude": 31}},
            ".randaugment.magnitude: given 31, should be less than or equal to 30 or should be a list",
        ),
    ],
)
def test_a_wrong_augmentation_is_told_once_with_what_is_allowed(section: object, problem: str) -> None:
    assert augmented(section) == [problem]


def test_features_that_are_computed_once_are_of_images_as_they_are() -> None:
    keys = {"training.model.freeze": "backbone", "training.model.cache_features": True}
    assert augmented({"flip": 0.5}, **keys) == [
        ": given {'flip': 0.5}, allowed: none, because training.model.cache_features computes each image's features "
        "only once"
    ]
    assert load_scenario("digits-b0c2", {"training.augmentation": "none", **keys})


def test_it_is_refused_where_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    text = shipped_scenarios()["digits-b0c2"].read_text(encoding="utf-8")
    extra = "training:\n  augmentation: {flip: 0.5}\n"
    path.write_text(text.replace("training:\n", extra), encoding="utf-8")
    line = path.read_text(encoding="utf-8").splitlines().index("  augmentation: {flip: 0.5}") + 1
    keys = {"training.model.freeze": "backbone", "training.model.cache_features": True}
    with pytest.raises(ScenarioError, match=rf"^{path}:{line}: training\.augmentation: given "):
        load_scenario(path, keys)
