"""Methods and metrics on a stream whose classes come back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from avalanche.core import SupervisedPlugin

import clsim
from clsim.scenario import Scenario, load_scenario
from clsim.training.memory.relabelling import OnlineRelabelling
from clsim.training.memory.replay import Replay

BACK = {
    "stream.increment": None,
    "stream.tasks": [["0", "1", "2", "3"], ["1", "3"], ["4", "5", "6", "7", "8", "9", "0"]],
}


@pytest.fixture
def scenario(tiny_overrides: dict[str, Any]) -> Scenario:
    return load_scenario("digits-b0c2", tiny_overrides | BACK)


def test_experiences_tell_what_is_current_and_what_is_old(scenario: Scenario) -> None:
    experiences = scenario.benchmark().train_stream
    assert [e.classes_in_this_experience for e in experiences] == [[0, 1, 2, 3], [1, 3], [0, 4, 5, 6, 7, 8, 9]]
    assert [e.old_classes for e in experiences] == [[], [0, 2], [1, 2, 3]]
    assert [e.previous_classes for e in experiences] == [[], [0, 1, 2, 3], [0, 1, 2, 3]]
    assert [len(e.classes_seen_so_far) for e in experiences] == [4, 4, 10]


def test_a_row_of_the_memory_is_relabelled_in_classes_that_its_task_did_not_have(build: Any, learn: Any) -> None:
    replay = learn(build("rebll", overrides=BACK)).find_plugin(Replay)
    memory = replay.memory
    assert sorted(set(memory.stored_by.tolist())) == [0, 1, 2]
    for task, given in enumerate([[0, 1, 2, 3], [1, 3], [0, *range(4, 10)]]):
        provenance = memory.provenance[memory.stored_by == task]
        assert (provenance[:, given] == 0).all()
        assert (np.delete(provenance, given, axis=1) > 0).all(), "after the last task every other label is filled"


class Labels(SupervisedPlugin):
    """Labels of each batch as the losses meet them, by task."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, Any, Any]] = []

    def before_backward(self, strategy: Any, **kwargs: Any) -> None:
        self.seen.append((strategy.position.task, strategy.mb_y.clone(), strategy.rows.clone()))


def test_a_hidden_label_of_a_class_that_came_back_is_no_old_class(build: Any, learn: Any) -> None:
    """It stays unknown, as those of the task's new classes do; only classes that are no part of the task read as 0."""
    record = Labels()
    overrides = BACK | {"labels.visible": {"keep": 0.5}}
    template = learn(build("finetune", options={"old_classes": "negative"}, overrides=overrides, last=[record]))
    current, old = [[0, 1, 2, 3], [1, 3], [0, *range(4, 10)]], [[], [0, 2], [1, 2, 3]]
    hidden = 0
    for task, y, rows in record.seen:
        shown = template.benchmark.train_rows.targets(rows.numpy())
        assert torch.equal(y[:, current[task]], shown[:, current[task]])
        assert (y[:, old[task]] == 0).all()
        hidden += int((y[:, current[task]] == -1).sum()) if task else 0
    assert hidden > 0


def test_the_share_of_a_class_counts_the_images_of_all_its_tasks(build: Any, learn: Any) -> None:
    template = learn(build("er+or", options={"threshold": "prior"}, overrides=BACK))
    relabelling = template.find_plugin(OnlineRelabelling)
    targets = [e.dataset.rows() for e in template.benchmark.train_stream]
    shown = template.benchmark.train_rows.targets(np.concatenate(targets))
    np.testing.assert_array_equal(relabelling.positives, (shown == 1).sum(dim=0).numpy())
    assert relabelling.rows_seen == len(shown)


SPECS = ["er", "ewc+lwf+er", "rebll+more", "er+identity", "moments", "l3a"]


@pytest.mark.parametrize("spec", SPECS)
def test_a_class_has_its_metrics_with_the_task_that_brought_it(tiny_overrides: Any, spec: str, tmp_path: Path) -> None:
    features = {f"strategy.{spec}.features": "first-task"} if spec in ("moments", "l3a") else {}
    record = clsim.run("digits-b0c2", spec, overrides=tiny_overrides | BACK | features, out=tmp_path).record
    matrix = np.array(record.R, dtype=float)
    assert np.isfinite(matrix[:, 0]).all()
    assert np.isnan(matrix[:, 1]).all(), "a task without a new class has no block of its own"
    assert np.isfinite(matrix[2, 2])
    assert np.isfinite([record.last_mAP, record.forgetting]).all()
