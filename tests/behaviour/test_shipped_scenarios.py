"""Every scenario that comes with clsim loads, plans and says how to launch it."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clsim.errors import ScenarioError
from clsim.scenario import load_scenario, shipped_scenarios
from clsim.scenario.training_schema import WeightsSection

SHIPPED = shipped_scenarios()
BOARD = {
    "board-dense": "097f3a891de3906de6a34ae18ee1e54721ae1d72d9d7b9a8d6ff8c4b871b2c53",
    "board-tail": "47dc63a75a9ee4e5957203251c57a00d5b1b942a5abcb6eab56e51e34e5a8ad2",
    "board-disjoint": "e350f42ee989f4db00ea826f8e9f1bf2af2c7a14213d588f6ca746d506f539bf",
}
"""Of the leaderboard's online stream see `test_online_streams`."""


def test_all_files_of_the_folder_are_shipped() -> None:
    folder = Path(__file__).parents[2] / "scenarios"
    assert sorted(SHIPPED) == sorted(path.stem for path in folder.glob("*.y*ml"))
    assert "digits-b0c2" in SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_it_loads_by_name_and_by_path_and_plans(name: str, shipped_in_small: Callable[[str], dict[str, Any]]) -> None:
    plan = load_scenario(name, shipped_in_small(name)).plan()
    assert load_scenario(SHIPPED[name], shipped_in_small(name)).plan().sha256 == plan.sha256


@pytest.mark.parametrize("name", BOARD)
def test_a_stream_of_the_leaderboard_keeps_its_hash(name: str) -> None:
    assert load_scenario(name).plan().sha256 == BOARD[name]


@pytest.mark.parametrize("name", SHIPPED)
def test_it_names_no_file_of_somebodys_disk(name: str) -> None:
    """Data on disk is for the reader to place; loading needs none of it, and the plan says how to give it."""
    config = load_scenario(name).config
    assert not isinstance(config.training.model.weights, WeightsSection)
    if config.dataset.name == "manifest":
        with pytest.raises(ScenarioError, match=r"dataset\.file: .*csv: no such file"):
            load_scenario(name).plan()
    elif config.dataset.name != "digits":
        assert config.dataset.root is None
        with pytest.raises(ScenarioError, match=r"dataset\.root: not set: .*--set dataset\.root=FOLDER"):
            load_scenario(name).plan()


@pytest.mark.parametrize("name", SHIPPED)
def test_what_it_expects_is_measured_or_marked_as_published(name: str) -> None:
    for row in load_scenario(name).config.expected:
        assert row.source.split()[0] in ("measured", "published:")
        assert 0 <= row.value <= 100
        if row.source.startswith("published"):
            assert row.tolerance is None, "another network and other weights: nobody can say how far off is right"


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


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("coco-seq", [24, 18, 14, 14]), ("nuswide-seq", [9, *[8] * 5]), ("split-coco", [4] * 10), ("split-wide", [3] * 7)],
)
def test_a_published_partition_is_the_users_file(
    name: str, sizes: list[int], shipped_in_small: Callable[[str], dict[str, Any]]
) -> None:
    """It quotes no number, and what its lists say is what is trained and tested on."""
    config = load_scenario(name).config
    assert config.stream.tasks is not None
    assert [len(task) for task in config.stream.tasks] == sizes
    assert sorted(config.dataset.classes) == sorted(name for task in config.stream.tasks for name in task)
    assert config.expected == []
    assert "not checked" in config.source
    small = shipped_in_small(name)
    scenario = load_scenario(name, small)
    plan, names = scenario.plan(), {split: scenario.source.image_names(split) for split in ("train", "test")}  # type: ignore[attr-defined]
    for split in ("train", "test"):
        key = "stream.assignment.given" if split == "train" else "evaluation.images.given"
        lines = [line.split(",") for line in Path(small[key]).read_text().splitlines()[1:]]
        for task, given in enumerate(plan.tasks):
            wanted = {image for image, number in lines if int(number) == task}
            if split == "train":
                assert {names["train"][row] for row in given.samples} == wanted
            else:
                assert plan.scopes is not None
                scored = plan.test_samples[plan.scopes[task]]
                assert {names["test"][row] for row in scored} == {
                    image for image, number in lines if int(number) <= task
                }
    trained = {names["train"][row] for task in plan.tasks for row in task.samples}
    assert not trained.intersection(names["test"][row] for row in plan.test_samples)
