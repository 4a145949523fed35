"""What a scenario with an online stream may say of training."""

from __future__ import annotations

from typing import Any

import pytest

from clsim.errors import ScenarioError
from clsim.scenario import load_scenario
from clsim.scenario.schema import ScenarioConfig

FILE: dict[str, Any] = {
    "name": "mine",
    "dataset": {"name": "digits"},
    "stream": {"increment": 2, "online": {"batch": 10}},
    "training": {"epochs": 1, "optimizer": {"lr": 0.01}},
}


def test_the_batch_size_is_that_of_the_stream() -> None:
    scenario = load_scenario(FILE)
    assert scenario.config.training.batch_size == 10
    assert scenario.with_overrides({"stream.online.batch": 7}).config.training.batch_size == 7
    assert load_scenario(FILE, {"training.batch_size": 10}).config == scenario.config
    assert FILE["training"] == {"epochs": 1, "optimizer": {"lr": 0.01}}, "a mapping of the caller stays as it is"


def test_a_configuration_that_was_written_in_full_reads_back() -> None:
    config = load_scenario(FILE).config
    assert ScenarioConfig.model_validate(config.model_dump(mode="json")) == config


def test_without_an_online_stream_the_batch_size_has_its_default() -> None:
    assert load_scenario(FILE, {"stream.online": None}).config.training.batch_size == 64


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"training.epochs": 6}, "training.epochs: given 6, allowed: 1 with stream.online, which has each image once"),
        ({"training.epochs": 0}, "training.epochs: given 0, allowed: 1"),
        ({"training.batch_size": 64}, "training.batch_size: given 64, allowed: 10, as stream.online.batch says"),
        ({"training.sampler": "class-aware"}, "training.sampler: given 'class-aware', allowed: shuffled"),
        ({"training.loss.name": "db"}, "training.loss.name: given 'db', allowed: bce, focal, asl"),
        ({"stream.online.batch": 0}, "stream.online.batch: given 0, should be greater than or equal to 1"),
        ({"stream.online": {"bach": 3}}, "stream.online.bach: unknown key, did you mean 'batch'"),
        ({"stream.online": 10}, "stream.online: given 10, should be a mapping of keys"),
    ],
)
def test_what_would_meet_an_image_twice_is_refused_in_a_line(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ScenarioError) as error:
        load_scenario(FILE, overrides)
    assert message in str(error.value)


def test_a_list_of_scenarios_says_that_a_stream_is_online() -> None:
    assert load_scenario(FILE).config.stream.summary == "B0-C2, online by 10"
    named = {"stream.increment": None, "stream.sizes": [4, 6]}
    assert load_scenario(FILE, named).config.stream.summary == "4-6, online by 10"
