"""`evaluation.every`: epoch, or a number of images, adds scores inside a task and changes nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from avalanche.core import SupervisedPlugin

import clsim
from clsim.errors import ScenarioError
from clsim.scenario import load_scenario
from tests.fixtures.logged import lines_of

EPOCH = {"evaluation.every": "epoch"}
IMAGES = {"evaluation.every": {"images": 20}}


@pytest.mark.parametrize("spec", ["finetune", "lwf+er", "ewc", "joint"])
def test_scoring_inside_tasks_leaves_the_weights_as_they_are(
    build: Any, learn: Any, same_weights: Any, spec: str
) -> None:
    plain = learn(build(spec))
    assert same_weights(learn(build(spec, overrides=EPOCH)), plain)
    assert same_weights(learn(build(spec, overrides=IMAGES)), plain)


@pytest.fixture(scope="module")
def folders(tiny_overrides: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Run folders of the same run scored after each task, after each epoch, and after every 20 images."""
    out = tmp_path_factory.mktemp("scoring")
    settings: dict[str, Any] = {"task": {"evaluation.every": "task"}, "epoch": EPOCH, "images": IMAGES}
    return {
        name: clsim.run("digits-b0c2", "er", overrides=tiny_overrides | own, out=out / name).folder
        for name, own in settings.items()
    }


def test_a_line_comes_after_each_epoch_before_that_of_the_task(folders: dict[str, Path]) -> None:
    phases = [(line["phase"], line["task"], line["step"]) for line in lines_of(folders["epoch"])]
    assert phases[:5] == [("train", 0, 1), ("epoch-eval", 0, 1), ("train", 0, 2), ("epoch-eval", 0, 2), ("eval", 0, 1)]
    assert phases[10:] == [
        ("train", 2, 5),
        ("epoch-eval", 2, 5),
        ("train", 2, 6),
        ("epoch-eval", 2, 6),
        ("eval", 2, 3),
    ]


@pytest.mark.parametrize("every", ["epoch", "images"])
def test_all_other_lines_are_those_of_a_run_scored_after_each_task(folders: dict[str, Path], every: str) -> None:
    others = [line for line in lines_of(folders[every]) if line["phase"] != f"{every}-eval"]
    assert others == lines_of(folders["task"])


def test_the_result_is_that_of_a_run_scored_after_each_task_but_for_the_anytime_average(
    folders: dict[str, Path],
) -> None:
    results = {name: json.loads((folder / "result.json").read_text()) for name, folder in folders.items()}
    for name in ("epoch", "images"):
        passes = [line["values"].get(f"{name}/mAP_seen") for line in lines_of(folders[name]) if "-" in line["phase"]]
        assert results[name].pop("anytime_mAP") == pytest.approx(np.mean(passes), abs=1e-12)
    assert results["task"].pop("anytime_mAP") is None
    assert results["epoch"] == results["images"] == results["task"]


class Watch(SupervisedPlugin):
    """Counts new rows step by step, notes after which steps a pass comes, and what it leaves of the step."""

    def __init__(self) -> None:
        super().__init__()
        self.new: dict[int, list[int]] = {}
        self.passes: dict[int, list[int]] = {}

    def after_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        self.new.setdefault(strategy.position.task, []).append(int((~strategy.replayed).sum()))
        self.step = self.look(strategy)

    def before_eval(self, strategy: Any, **kwargs: Any) -> None:
        if strategy.position.started:
            self.passes.setdefault(strategy.position.task, []).append(len(self.new[strategy.position.task]))

    def after_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
        assert all(now is then for now, then in zip(self.look(strategy), self.step, strict=True))

    def look(self, strategy: Any) -> list[Any]:
        return [strategy.mbatch, strategy.rows, strategy.mb_output, strategy.loss, strategy.dataloader]


@pytest.mark.parametrize("n", [1, 20, 50])
def test_a_pass_comes_after_the_step_that_completes_so_many_new_images_of_a_task(
    build: Any, learn: Any, n: int
) -> None:
    watch = Watch()
    template = learn(build("er", overrides={"evaluation.every": {"images": n}}, last=[watch]))
    for task, counts in watch.new.items():
        done = np.cumsum([0, *counts]) // n
        assert watch.passes.get(task, []) == [step for step in range(1, len(done)) if done[step] > done[step - 1]]
    assert template.images.run == sum(map(sum, watch.new.values()))


def test_lines_of_passes_between_steps_stand_at_the_images_of_the_run(folders: dict[str, Path]) -> None:
    steps = [line["step"] for line in lines_of(folders["images"]) if line["phase"] == "images-eval"]
    assert steps == sorted(set(steps))
    assert steps[0] == 32  # the second batch of 16


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("step", r"evaluation.every: .*allowed: task \| epoch \| \{images: 1000\}"),
        ({"steps": 5}, r"evaluation.every: .*allowed: task \| epoch \| \{images: 1000\}"),
        ({"images": 0}, "evaluation.every.images: given 0, should be greater than or equal to 1"),
    ],
)
def test_another_value_is_refused_in_a_line(given: Any, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        load_scenario("digits-b0c2", {"evaluation.every": given})


def test_the_last_score_inside_a_task_is_the_tasks_own(folders: dict[str, Path]) -> None:
    found = lines_of(folders["epoch"])
    for task in range(3):
        inside = [line["values"] for line in found if (line["phase"], line["task"]) == ("epoch-eval", task)]
        after = next(line["values"] for line in found if (line["phase"], line["task"]) == ("eval", task))
        assert inside[-1]["epoch/mAP_seen"] == after["mAP/seen"]
        assert inside[0]["epoch/mAP_seen"] != after["mAP/seen"]
        assert len(inside) == 2


def test_scoring_inside_a_task_disturbs_neither_mode_nor_batch_nor_generators(build: Any, learn: Any) -> None:
    class Around(SupervisedPlugin):
        """Compares what the next epoch would meet before and after the pass."""

        def after_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
            self.before = self.look(strategy)

        def after_eval(self, strategy: Any, **kwargs: Any) -> None:
            if strategy.position.started:
                self.generator = torch.equal(torch.get_rng_state(), self.before[-1])

        def before_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
            if strategy.position.epoch:
                assert self.generator
                assert self.look(strategy)[:-1] == self.before[:-1]

        def look(self, strategy: Any) -> list[Any]:
            modes = [module.training for module in strategy.model.modules()]
            return [modes, strategy.experience, strategy.dataloader, strategy.is_training, torch.get_rng_state()]

    learn(build("lwf+er", overrides=EPOCH, last=[Around()]))
