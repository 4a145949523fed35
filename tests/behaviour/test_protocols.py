"""The published protocols on VOC: task sizes from the real label files, and what must hold on any label files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clsim.data.voc import VOC_CLASSES
from clsim.scenario import StreamPlan, load_scenario

SHARED = Path(__file__).parents[3] / "shared" / "data"
DEVKIT, MLT = SHARED / "voc2007-labels" / "VOCdevkit", SHARED / "voc-mlt"
needs_label_files = pytest.mark.skipif(not DEVKIT.is_dir(), reason="no ../shared/data/voc2007-labels")
needs_mlt = pytest.mark.skipif(not (DEVKIT.is_dir() and MLT.is_dir()), reason="no ../shared/data/voc-mlt")

SIZES: dict[str, tuple[list[int], list[int], list[int]]] = {  # classes, training images, test images in scope, by task
    "voc2007-b0c4": ([4] * 5, [985, 1409, 1091, 2322, 805], [892, 2235, 3186, 4497, 4952]),
    "voc2007-b10c2": ([10, *[2] * 5], [2868, 620, 532, 2180, 325, 517], [2729, 3186, 3634, 4497, 4652, 4952]),
    "voc2007-b5c3": ([5, *[3] * 5], [1227, 1171, 687, 943, 2264, 709], [1101, 2235, 2809, 3634, 4573, 4952]),
    "voc2007-b4c2": (
        [4, *[2] * 8],
        [985, 430, 1048, 586, 620, 532, 2180, 325, 517],
        [892, 1268, 2235, 2729, 3186, 3634, 4497, 4652, 4952],
    ),
    "voc2007-b10c5-disjoint": ([10, 5, 5], [2317, 1947, 747], [2729, 4386, 4952]),
    "voc2007-b0c5-disjoint": ([5] * 4, [985, 1339, 1942, 745], [1101, 2729, 4386, 4952]),
}
JOINT_OF_THE_TABLE = 93.6


def real_plan(name: str, **overrides: Any) -> StreamPlan:
    keys = {"dataset.root": str(DEVKIT), "dataset.labels": "class-files", **overrides}
    return load_scenario(name, keys).plan()


@needs_label_files
@pytest.mark.parametrize("name", SIZES)
def test_task_sizes_on_the_real_label_files(name: str) -> None:
    classes, train, test = SIZES[name]
    plan = real_plan(name)
    assert plan.class_names == VOC_CLASSES
    assert [len(plan.names(task)) for task in plan.tasks] == classes
    assert [len(task) for task in plan.tasks] == train
    assert [int(plan.in_scope(task).sum()) for task in range(len(plan.tasks))] == test
    assert len(np.unique(np.concatenate([task.samples for task in plan.tasks]))) == 5011
    assert sum(train) == 5011 or "disjoint" not in name


@needs_label_files
@pytest.mark.parametrize(("difficult", "hidden"), [("negative", 0), ("ignore", -1), ("positive", 1)])
def test_what_difficult_means_changes_labels_not_their_number(difficult: str, hidden: int) -> None:
    plan, strict = (real_plan("voc2007-b0c4", **{"dataset.difficult": d}) for d in (difficult, "ignore"))
    odd = strict.test_truth == -1
    assert 0.005 < odd.mean() < 0.02
    np.testing.assert_array_equal(plan.test_truth[odd], hidden)
    np.testing.assert_array_equal(plan.test_truth[~odd], strict.test_truth[~odd])


@pytest.mark.parametrize("labels", ["annotations", "class-files"])
@pytest.mark.parametrize("name", SIZES)
def test_tasks_on_generated_files_are_what_counting_says(
    name: str, labels: str, shipped_in_small: Callable[[str], dict[str, Any]]
) -> None:
    scenario = load_scenario(name, {**shipped_in_small(name), "dataset.labels": labels})
    plan, train, test = scenario.plan(), scenario.source.labels("train"), scenario.source.labels("test")
    assert [len(plan.names(task)) for task in plan.tasks] == SIZES[name][0]
    in_tasks = np.zeros(len(train), dtype=int)
    for index, task in enumerate(plan.tasks):
        columns = slice(*task.classes)
        shows = {row for row, labels_of in enumerate(train.tolist()) if 1 in labels_of[columns]}
        assert set(task.samples.tolist()) <= shows
        assert "disjoint" in name or len(task) == len(shows)
        np.testing.assert_array_equal(task.values, train[task.samples, columns])
        assert plan.in_scope(index).sum() == sum(1 in row[: task.classes[1]] for row in test.tolist())
        in_tasks[task.samples] += 1
    assert (in_tasks[(train == 1).any(axis=1)] >= 1).all()
    assert "disjoint" not in name or in_tasks.max() == 1


@pytest.mark.parametrize("name", SIZES)
def test_what_is_quoted_is_from_the_table_of_that_protocol(name: str) -> None:
    scenario = load_scenario(name).config
    quoted = {(row.strategy, row.metric, row.source.rpartition(", ")[2]): row.value for row in scenario.expected}
    if "disjoint" in name:
        assert quoted == {}
        assert "not the authors' split" in scenario.source
        return
    assert quoted["joint", "last_mAP", "all data at once"] == JOINT_OF_THE_TABLE
    assert len(quoted) == len(scenario.expected), "a row that stands there twice"
    for (strategy, metric, memory), value in quoted.items():
        assert value <= quoted.get((strategy, "avg_mAP", memory), 100), "an average below the last value"
        assert metric in ("avg_mAP", "last_mAP")


def test_the_recipe_is_that_of_the_krt_family() -> None:
    for name in SIZES:
        training = load_scenario(name).config.training
        assert (training.epochs, training.batch_size, training.schedule) == (20, 64, "one-cycle")
        assert (training.optimizer.name, training.optimizer.lr, training.optimizer.later_lr) == ("adam", 4e-5, 4e-5)
        assert training.optimizer.weight_decay == 1e-4
        loss = training.loss
        assert loss.name == "asl"
        assert (loss.gamma_neg, loss.gamma_pos, loss.clip) == (4, 0, 0.05)
        assert not isinstance(training.augmentation, str)
        assert training.augmentation.model_dump(exclude_defaults=True) == {
            "cutout": 0.5,
            "randaugment": {"magnitude": [3, 30], "probability": 0.5, "pool": "krt"},
        }


def test_the_documented_sizes_are_these() -> None:
    text = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    for name, (_, train, test) in SIZES.items():
        assert f"| `{name}` | {', '.join(map(str, train))} | {', '.join(map(str, test))} |" in text


@needs_mlt
def test_voc_mlt_has_its_published_counts_and_groups(tmp_path: Path) -> None:
    main = tmp_path / "VOC2012" / "ImageSets" / "Main"
    main.mkdir(parents=True)
    rows = [line.split(",") for line in (MLT / "voc2012_trainval_labels.csv").read_text().split()][1:]
    (main / "trainval.txt").write_text("".join(f"{row[0]}\n" for row in rows))
    for column, name in enumerate(VOC_CLASSES, start=1):
        (main / f"{name}_trainval.txt").write_text("".join(f"{row[0]} {row[column]}\n" for row in rows))
    (tmp_path / "VOC2007").symlink_to(DEVKIT / "VOC2007")
    keys = {"dataset.root": str(tmp_path), "dataset.ids": str(MLT / "train_ids.txt"), "dataset.labels": "class-files"}
    plan = load_scenario("voc-mlt", keys).plan()
    counts = [6, 34, 8, 14, 154, 17, 249, 29, 479, 4, 240, 48, 11, 20, 775, 100, 5, 82, 7, 64]
    assert plan.groups.positives.tolist() == counts
    assert [len(plan.groups.columns(group)) for group in ("head", "medium", "tail")] == [6, 6, 8]
    assert [len(task) for task in plan.tasks] == [60, 425, 556, 831, 150]
    assert [int(plan.in_scope(task).sum()) for task in range(5)] == [914, 2315, 3321, 4530, 4952]
