"""StreamPlan: its hash covers what is streamed and nothing else; it travels as bytes; real VOC2007 label files."""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clsim.scenario import StreamPlan, load_scenario
from clsim.scenario.plan.planning import build_plan, joint_plan, stream_data

DIGITS_B0C2 = "51fb5682a4c92e8de606a5a04402aa5d563107b518b92f3a599818e1691c692c"
VOC = Path(__file__).parents[4] / "shared" / "data" / "voc2007-labels" / "VOCdevkit" / "VOC2007" / "ImageSets" / "Main"
SMALL = {"dataset.train": 60, "dataset.test": 20}


@pytest.fixture
def plan() -> StreamPlan:
    return load_scenario("digits-b0c2", SMALL).plan()


def test_the_shipped_plan_keeps_its_hash() -> None:
    assert load_scenario("digits-b0c2").plan().sha256 == DIGITS_B0C2


PLAN_WITHOUT_TORCH = """
import sys
from clsim.scenario import load_scenario
from clsim.scenario.plan.description import describe
scenario = load_scenario("digits-b0c2")
plan = scenario.plan()
describe(plan, scenario.truth())
plan.to_bytes()
print(plan.sha256, sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "sklearn", "avalanche"}))
"""


@pytest.mark.parametrize("hash_seed", ["1", "4711"])
def test_a_plan_needs_no_torch_and_no_hash_seed(hash_seed: str) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", PLAN_WITHOUT_TORCH]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"{DIGITS_B0C2} []\n"


@pytest.mark.parametrize(
    "overrides",
    [
        {"memory.budget": "none"},
        {"memory.budget": {"total": 7}},
        {"training.epochs": 1, "training.batch_size": 8, "training.schedule": "constant"},
        {"training.optimizer": {"name": "sgd", "lr": 1}},
        {"training.model.image_size": 64},
        {"evaluation.thresholds": [0.3]},
        {"threads": 3},
        {"name": "other", "source": "elsewhere"},
        {"stream.order": list("0123456789")},
        {"stream.base": 2},
    ],
    ids=lambda overrides: next(iter(overrides)),
)
def test_the_hash_does_not_know_memory_model_training_or_spelling(plan: StreamPlan, overrides: dict[str, Any]) -> None:
    assert load_scenario("digits-b0c2", {**SMALL, **overrides}).plan().sha256 == plan.sha256


@pytest.mark.parametrize(
    "overrides",
    [
        {"dataset.train": 61},
        {"dataset.test": 21},
        {"dataset.seed": 1},
        {"stream.increment": 5},
        {"stream.order": "seed"},
        {"labels.visible": "full"},
        {"evaluation.images": "all"},
        {"evaluation.groups": "counts"},
    ],
    ids=lambda overrides: next(iter(overrides)),
)
def test_the_hash_knows_what_is_streamed(plan: StreamPlan, overrides: dict[str, Any]) -> None:
    assert load_scenario("digits-b0c2", {**SMALL, **overrides}).plan().sha256 != plan.sha256


def _task(plan: StreamPlan, **changes: Any) -> StreamPlan:
    return dataclasses.replace(plan, tasks=(dataclasses.replace(plan.tasks[0], **changes), *plan.tasks[1:]))


def _flipped(array: np.ndarray) -> np.ndarray:
    changed = array.copy()
    changed.flat[0] += 1
    return changed


CHANGES: dict[str, Callable[[StreamPlan], StreamPlan]] = {
    "row": lambda plan: _task(plan, samples=_flipped(plan.tasks[0].samples)),
    "order of rows": lambda plan: _task(plan, samples=plan.tasks[0].samples[::-1]),
    "column": lambda plan: _task(plan, columns=_flipped(plan.tasks[0].columns)),
    "value": lambda plan: _task(plan, values=_flipped(plan.tasks[0].values)),
    "classes of a task": lambda plan: _task(plan, classes=(0, 3)),
    "class order": lambda plan: dataclasses.replace(plan, class_names=plan.class_names[::-1]),
    "test row": lambda plan: dataclasses.replace(plan, test_samples=_flipped(plan.test_samples)),
    "test truth": lambda plan: dataclasses.replace(plan, test_truth=_flipped(plan.test_truth)),
    "test scope": lambda plan: dataclasses.replace(plan, test_scope="all"),
    "group": lambda plan: dataclasses.replace(
        plan, groups=dataclasses.replace(plan.groups, group=_flipped(plan.groups.group))
    ),
    "positives": lambda plan: dataclasses.replace(
        plan, groups=dataclasses.replace(plan.groups, positives=_flipped(plan.groups.positives))
    ),
    "derivation": lambda plan: dataclasses.replace(plan, derived_from="0" * 64),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_hash_changes_with_every_part(plan: StreamPlan, change: str) -> None:
    assert CHANGES[change](plan).sha256 != plan.sha256


def test_the_hash_is_the_same_for_other_integer_types(plan: StreamPlan) -> None:
    narrow = _task(plan, samples=plan.tasks[0].samples.astype(np.int32), values=plan.tasks[0].values.astype(">i8"))
    assert narrow.sha256 == plan.sha256


@pytest.mark.parametrize("visible", ["task", "full"])
def test_bytes_hold_the_whole_plan(visible: str) -> None:
    scenario = load_scenario("digits-b0c2", {**SMALL, "labels.visible": visible})
    for written in (scenario.plan(), joint_plan(scenario.plan(), scenario.truth(), last_only=True)):
        read = StreamPlan.from_bytes(written.to_bytes())
        assert read.sha256 == written.sha256
        assert read.derived_from == written.derived_from
        assert read.tasks[-1].values.dtype == np.int8
        np.testing.assert_array_equal(read.tasks[-1].values, written.tasks[-1].values)
        np.testing.assert_array_equal(read.test_rows(), written.test_rows())


def test_bytes_keep_unknown_labels(configure: Any) -> None:
    labels = np.array([[1, -1, 0], [-1, 1, 1]], dtype=np.int8)
    config = configure(0, 3)
    plan = build_plan(config, stream_data(config, ["a", "b", "c"], labels, labels))
    read = StreamPlan.from_bytes(plan.to_bytes())
    np.testing.assert_array_equal(read.tasks[0].values, labels)
    np.testing.assert_array_equal(read.test_truth, labels)


def test_equal_plans_have_equal_bytes(plan: StreamPlan) -> None:
    content = plan.to_bytes()
    assert load_scenario("digits-b0c2", SMALL).plan().to_bytes() == content
    assert content[4:8] == bytes(4)  # gzip's time stamp


def test_damaged_bytes_are_a_value_error(plan: StreamPlan) -> None:
    content = plan.to_bytes()
    damaged = [b"", b"no plan", content[:-5], content[5:], content + b"x", gzip.compress(b"[1]"), gzip.compress(b"{}")]
    damaged += [content[:i] + bytes([content[i] ^ 255]) + content[i + 1 :] for i in range(10, len(content), 37)]
    for bad in damaged:
        with pytest.raises(ValueError, match="plan"):
            StreamPlan.from_bytes(bad)


def _rewritten(plan: StreamPlan, change: Callable[[dict[str, Any]], Any]) -> bytes:
    data = json.loads(gzip.decompress(plan.to_bytes()))
    change(data)
    return gzip.compress(json.dumps(data).encode())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data["tasks"][0]["samples"].reverse(), "does not match the recorded"),
        (lambda data: data["test"]["truth"].reverse(), "does not match the recorded"),
        (lambda data: data.update(test_scope="all"), "does not match the recorded"),
        (lambda data: data.update(sha256=None), "does not match the recorded"),
        (lambda data: data.update(format=2), "plan format 2, expected 1"),
        (lambda data: data.pop("tasks"), "not a plan"),
        (lambda data: data["tasks"][0].update(values=["01"]), "plan"),
        (lambda data: data["tasks"][0].update(values=[1]), "not a plan"),
        (lambda data: data["tasks"][0].update(samples=[10**30]), "not a plan"),
        (lambda data: data["test"].update(truth=["0"]), "not a plan"),
    ],
)
def test_tampered_content_is_a_value_error(plan: StreamPlan, change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StreamPlan.from_bytes(_rewritten(plan, change))


def test_plans_can_be_compared_and_kept_in_sets(plan: StreamPlan) -> None:
    assert len({plan, plan, load_scenario("digits-b0c2", SMALL).plan()}) == 2


def test_row_ids_count_through_the_tasks_and_on_into_the_test_images(plan: StreamPlan) -> None:
    ids = np.concatenate([*(plan.rows(task) for task in range(len(plan.tasks))), plan.test_rows()])
    np.testing.assert_array_equal(ids, np.arange(sum(len(task) for task in plan.tasks) + 20))


def _voc(split: str) -> tuple[list[str], np.ndarray]:
    """Class names and the file's 1, 0 (difficult only), -1 (absent), int [N, 20]."""
    files = sorted(VOC.glob(f"*_{split}.txt"))
    columns = [[int(line.split()[1]) for line in file.read_text().splitlines()] for file in files]
    return [file.name.removesuffix(f"_{split}.txt") for file in files], np.array(columns).T


@pytest.mark.skipif(not VOC.is_dir(), reason="the real VOC2007 label files are not at ../shared/data/voc2007-labels")
@pytest.mark.parametrize(("base", "increment", "tasks"), [(0, 4, 5), (10, 2, 6), (5, 3, 6), (4, 2, 9)])
def test_plans_of_the_real_voc2007_labels(configure: Any, base: int, increment: int, tasks: int) -> None:
    names, train = _voc("trainval")
    _, test = _voc("test")
    assert (train.shape, test.shape) == ((5011, 20), (4952, 20))
    present = (train == 1).astype(np.int8)  # difficult counts as absent
    config = configure(base, increment)
    plan = build_plan(config, stream_data(config, names, present, (test == 1).astype(np.int8)))
    assert len(plan.tasks) == tasks
    for task in plan.tasks:
        columns = range(*task.classes)
        assert len(task) == sum(any(row[column] == 1 for column in columns) for row in train.tolist())
        difficult = train[np.ix_(task.samples, task.columns)] == 0
        assert (task.values[difficult] == 0).all()
    assert plan.in_scope(len(plan.tasks) - 1).all()
