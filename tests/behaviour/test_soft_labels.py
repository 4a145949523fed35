"""Soft labels from a table to the weights: who sees which, what they count as, what refuses them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import clsim
from clsim.errors import ClsimError
from clsim.evaluation.history import History
from clsim.evaluation.loggers import MetricsFile
from clsim.running.assembly import build_template, training_plan
from clsim.scenario import Scenario, load_scenario
from clsim.scenario.plan.planning import joint_plan
from clsim.scenario.plan.stream_plan import StreamPlan
from clsim.training.composition import Composition
from clsim.training.memory.replay import Replay

SCENARIO = """
name: soft
dataset: {name: manifest, file: m.csv, label_columns: rest, soft_labels: {threshold: 0.5}}
stream: {increment: 2}
memory: {budget: {total: 12}}
training:
  model: {image_size: 16}
  epochs: 1
  batch_size: 8
  optimizer: {lr: 1e-3}
threads: 1
"""
NAMES = ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with soft.yaml and a table in which every fourth label is soft; to be read only."""
    folder = tmp_path_factory.mktemp("soft")
    random = np.random.default_rng(0)
    lines = ["path,split," + ",".join(NAMES)]
    for row in range(60):
        cells = random.choice(["0", "1", "0.25", "0.75"], 4, p=[0.4, 0.35, 0.125, 0.125])
        lines.append(f"{row}.png,{'train' if row < 40 else 'test'}," + ",".join(cells))
        Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{row}.png")
    (folder / "m.csv").write_text("\n".join(lines) + "\n")
    (folder / "soft.yaml").write_text(SCENARIO)
    return folder


@pytest.fixture
def load(home: Path) -> Any:
    def loaded(**overrides: Any) -> Scenario:
        return load_scenario(home / "soft.yaml", {key.replace("__", "."): value for key, value in overrides.items()})

    return loaded


def soft_of(scenario: Scenario) -> Any:
    soft = scenario.soft_truth()
    assert soft is not None
    return soft


def test_rows_show_soft_labels_and_count_by_the_threshold(load: Any) -> None:
    scenario = load()
    plan, soft, truth = scenario.plan(), soft_of(scenario), scenario.truth()
    assert set(np.unique(soft)) == {0, 0.25, 0.75}
    for task, experience in zip(plan.tasks, scenario.benchmark().train_stream, strict=True):
        start, stop = task.classes
        np.testing.assert_array_equal(task.samples, np.flatnonzero((truth[:, start:stop] == 1).any(axis=1)))
        _, y, _ = experience.dataset.__getitems__(range(len(experience.dataset))).batch
        block = np.ix_(task.samples, range(start, stop))
        np.testing.assert_array_equal(y[:, start:stop].numpy(), np.where(soft[block] > 0, soft[block], truth[block]))
        assert (np.delete(y.numpy(), range(start, stop), axis=1) == -1).all()
    assert set(np.unique(plan.test_truth)) == {0, 1}
    np.testing.assert_array_equal(plan.groups.positives, (truth == 1).sum(axis=0))


def test_as_unknown_they_put_no_image_into_a_task(load: Any) -> None:
    scenario = load(dataset__soft_labels="unknown")
    plan, truth = scenario.plan(), scenario.truth()
    assert ((truth == -1) == (soft_of(scenario) > 0)).all()
    assert set(np.unique(plan.test_truth)) == {-1, 0, 1}
    for task in plan.tasks:
        assert ((task.values == 1).any(axis=1)).all()
        assert task.soft is not None
        assert (task.values[task.soft > 0] == -1).all()


def test_a_plan_of_soft_labels_is_read_back_and_told_by_its_hash(load: Any) -> None:
    plan = load().plan()
    again = StreamPlan.from_bytes(plan.to_bytes())
    assert again.sha256 == plan.sha256
    for task, other in zip(plan.tasks, again.tasks, strict=True):
        np.testing.assert_array_equal(task.soft, other.soft, strict=True)
    soft = plan.tasks[0].soft
    assert soft is not None
    assert not soft.flags.writeable
    assert load(dataset__soft_labels={"threshold": 0.7}).plan().sha256 == plan.sha256, "0.25 and 0.75 count alike"
    assert load(dataset__soft_labels="unknown").plan().sha256 != plan.sha256


def test_keep_hides_them_as_any_other_label(load: Any) -> None:
    scenario = load(labels__visible={"keep": 0.5})
    soft, truth = soft_of(scenario), scenario.truth()
    for task in scenario.plan().tasks:
        block = np.ix_(task.samples, task.columns)
        assert task.soft is not None
        seen = (task.values != -1) | (task.soft > 0)
        assert 0.3 < seen.mean() < 0.7
        np.testing.assert_array_equal(task.soft, np.where(seen, soft[block], 0))
        np.testing.assert_array_equal(task.values, np.where(seen, truth[block], -1))


def test_single_positive_shows_none_and_noise_changes_none(load: Any) -> None:
    assert not load(labels__visible="single-positive").plan().has_soft_labels
    noisy = load(labels__noise={"false_negative": 0.9, "false_positive": 0.9}).plan()
    for task, clean in zip(noisy.tasks, load().plan().tasks, strict=True):
        assert task.soft is not None
        np.testing.assert_array_equal(task.soft, clean.soft)
        np.testing.assert_array_equal(task.values[task.soft > 0], clean.values[task.soft > 0])
        assert (task.values != clean.values).any()


def test_joint_trains_on_all_of_them(load: Any) -> None:
    scenario = load()
    plan = training_plan(scenario, Composition("joint"))
    last = plan.tasks[-1]
    np.testing.assert_array_equal(last.soft, soft_of(scenario)[last.samples])
    assert joint_plan(scenario.plan(), scenario.truth()).sha256 != plan.sha256


def test_a_memory_stores_them(load: Any, tmp_path: Path) -> None:
    scenario, composition = load(), Composition("er")
    plan = scenario.plan()
    template = build_template(
        scenario, composition, plan, seed=0, device="cpu", history=History(plan), loggers=[MetricsFile(tmp_path / "m")]
    )
    template.learn(template.benchmark.train_stream, template.benchmark.evaluation_stream)
    (replay,) = (plugin for plugin in template.plugins if isinstance(plugin, Replay))
    stored = replay.memory.labels
    assert set(np.unique(stored)) == {-1, 0, 0.25, 0.75, 1}
    rows = plan.row_samples[replay.memory.rows]
    soft = (stored > 0) & (stored < 1)
    np.testing.assert_array_equal(stored[soft], soft_of(scenario)[rows][soft])


@pytest.mark.parametrize("loss", ["bce", "focal", "asl", "db", "logit-adjusted", "class-balanced", "rldam"])
def test_a_run_ends_with_numbers(load: Any, tmp_path: Path, loss: str) -> None:
    result = clsim.run(load(training__loss__name=loss), "er", out=tmp_path)
    assert all(value is not None for value in result.result["mAP"])
    assert StreamPlan.from_bytes((result.folder / "plan.json.gz").read_bytes()).has_soft_labels


@pytest.mark.parametrize("loss", ["cross-entropy", "logit-adjusted-ce"])
def test_a_softmax_refuses_them_by_name(load: Any, tmp_path: Path, loss: str) -> None:
    with pytest.raises(ClsimError, match=rf"^training\.loss\.name: given '{loss}', which takes no soft labels"):
        clsim.run(load(training__loss__name=loss), "finetune", out=tmp_path)
    assert not list(tmp_path.iterdir())
    Composition("akd").check_targets(
        load().plan(), load(training__loss__name=loss).config.training.loss
    )  # its own loss


def test_so_does_an_oracle_memory(load: Any) -> None:
    with pytest.raises(ClsimError, match=r"memory\.labels: given 'oracle', but the data set has soft labels"):
        load(memory__labels="oracle").plan()
