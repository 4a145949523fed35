"""`evaluation.every: epoch` adds scores inside a task and changes nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from avalanche.core import SupervisedPlugin

import clsim

EPOCH = {"evaluation.every": "epoch"}


@pytest.mark.parametrize("spec", ["finetune", "lwf+er", "ewc", "joint"])
def test_scoring_every_epoch_leaves_the_weights_as_they_are(
    build: Any, learn: Any, same_weights: Any, spec: str
) -> None:
    assert same_weights(learn(build(spec, overrides=EPOCH)), learn(build(spec)))


@pytest.fixture(scope="module")
def folders(tiny_overrides: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Run folders of the same run scored after each task, and after each epoch."""
    out = tmp_path_factory.mktemp("scoring")
    return {
        every: clsim.run(
            "digits-b0c2", "er", overrides=tiny_overrides | {"evaluation.every": every}, out=out / every
        ).folder
        for every in ("task", "epoch")
    }


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_line_comes_after_each_epoch_before_that_of_the_task(folders: dict[str, Path]) -> None:
    phases = [(line["phase"], line["task"], line["step"]) for line in lines(folders["epoch"])]
    assert phases[:5] == [("train", 0, 1), ("epoch-eval", 0, 1), ("train", 0, 2), ("epoch-eval", 0, 2), ("eval", 0, 1)]
    assert phases[10:] == [
        ("train", 2, 5),
        ("epoch-eval", 2, 5),
        ("train", 2, 6),
        ("epoch-eval", 2, 6),
        ("eval", 2, 3),
    ]


def test_all_other_lines_are_those_of_a_run_scored_after_each_task(folders: dict[str, Path]) -> None:
    others = [line for line in lines(folders["epoch"]) if line["phase"] != "epoch-eval"]
    assert others == lines(folders["task"])


def test_the_result_is_that_of_a_run_scored_after_each_task(folders: dict[str, Path]) -> None:
    results = [json.loads((folder / "result.json").read_text()) for folder in folders.values()]
    assert results[0] == results[1]


def test_the_last_score_inside_a_task_is_the_tasks_own(folders: dict[str, Path]) -> None:
    found = lines(folders["epoch"])
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
