"""The published protocols on COCO: tasks on generated files, quoted numbers, and COCO-MLT from its real labels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clsim.scenario import load_scenario

LABELS = Path(__file__).parents[3] / "shared" / "data" / "coco-mlt" / "labels.csv"
needs_mlt = pytest.mark.skipif(not LABELS.is_file(), reason="no ../shared/data/coco-mlt")

CLASSES = {  # in each task
    "coco2014-b0c10": [10] * 8,
    "coco2014-b40c10": [40, *[10] * 4],
    "coco2014-b20c4": [20, *[4] * 15],
    "coco2014-b0c5": [5] * 16,
    "coco2014-b40c10-disjoint": [40, *[10] * 4],
    "coco2014-b0c20-disjoint": [20] * 4,
}
QUOTED = {"coco2014-b0c10": (74.6, 65.9), "coco2014-b40c10": (77.8, 74.0)}  # KRT without memory: average and last mAP

# COCO's categories in the order of their ids, which have gaps and end with 90.
CATEGORIES = """person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,
parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie,suitcase,
frisbee,skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,
wine glass,cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,
potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,
refrigerator,book,clock,vase,scissors,teddy bear,hair drier,toothbrush""".replace("\n", "").split(",")
GAPS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
CATEGORY_IDS = [id for id in range(1, 91) if id not in GAPS]


@pytest.mark.parametrize("name", CLASSES)
def test_tasks_on_generated_files_are_what_counting_says(
    name: str, shipped_in_small: Callable[[str], dict[str, Any]]
) -> None:
    scenario = load_scenario(name, shipped_in_small(name))
    plan, train = scenario.plan(), scenario.truth()
    assert [len(plan.names(task)) for task in plan.tasks] == CLASSES[name]
    assert list(plan.class_names) == sorted(scenario.source.class_names)
    in_tasks = np.zeros(len(train), dtype=int)
    for task in plan.tasks:
        shows = np.flatnonzero((train[:, slice(*task.classes)] == 1).any(axis=1))
        assert set(task.samples) <= set(shows)
        assert "disjoint" in name or len(task) == len(shows)
        np.testing.assert_array_equal(task.values, train[task.samples][:, slice(*task.classes)])
        in_tasks[task.samples] += 1
    assert in_tasks.min() >= 1
    assert (in_tasks.max() == 1) == ("disjoint" in name)


@pytest.mark.parametrize("name", CLASSES)
def test_what_is_quoted_is_from_the_table_of_that_protocol(name: str) -> None:
    config = load_scenario(name).config
    quoted = {(row.strategy, row.metric, row.source.rpartition(", ")[2]): row.value for row in config.expected}
    assert len(quoted) == len(config.expected), "a row that stands there twice"
    if name not in QUOTED:
        assert quoted == {}
        assert "disjoint" not in name or "not the authors' split" in config.source
        return
    krt = tuple(quoted["krt", metric, "no memory"] for metric in ("avg_mAP", "last_mAP"))
    assert (krt, quoted["joint", "last_mAP", "all data at once"]) == (QUOTED[name], 81.8)
    memories = {"all data at once", "no memory", "20 per class in memory", "1000 in memory"}
    assert {memory for _, _, memory in quoted} == memories
    for (strategy, metric, memory), value in quoted.items():
        assert metric in ("avg_mAP", "last_mAP", "CF1@0.8", "OF1@0.8")
        assert value <= quoted.get((strategy, "avg_mAP", memory), 100), "an average below the last value"


def test_the_recipe_is_that_of_the_krt_family() -> None:
    for name in CLASSES:
        config = load_scenario(name).config
        training, optimizer = config.training, config.training.optimizer
        assert (training.epochs, training.batch_size, training.schedule) == (20, 64, "one-cycle")
        assert (optimizer.name, optimizer.lr, optimizer.later_lr, optimizer.weight_decay) == ("adam", 4e-5, 1e-4, 1e-4)
        assert training.loss.model_dump() == {"name": "asl", "gamma_neg": 4, "gamma_pos": 0, "clip": 0.05}
        assert training.augmentation == load_scenario("voc2007-b0c4").config.training.augmentation
        assert config.memory.model_dump() == {"budget": {"per_class": 20}, "labels": "as_seen"}


@pytest.fixture
def mlt(tmp_path: Path) -> Path:
    """COCO's folder with the real labels of COCO-MLT as annotations, images of other ids, and ids.txt."""
    rows = np.loadtxt(LABELS, delimiter=",", skiprows=1, dtype=np.int64)
    ids, labels = rows[:, 0], rows[:, 1:]
    others = [1, 2, 3]
    assert not set(others) & set(ids.tolist())
    assert len(CATEGORIES) == len(CATEGORY_IDS) == labels.shape[1]
    shown = [
        (int(image), int(column)) for image, row in zip(ids, labels, strict=True) for column in np.flatnonzero(row)
    ]
    everything = [(1, column) for column in range(80)]
    write_annotations(tmp_path, "train2017", [*ids.tolist(), *others], [*shown, *everything, (2, 0), (3, 79)])
    write_annotations(tmp_path, "val2017", [7], [(7, column) for column in range(80)])
    (tmp_path / "ids.txt").write_text("".join(f"{image}\n" for image in ids))
    return tmp_path


def write_annotations(root: Path, split: str, images: list[int], shown: list[tuple[int, int]]) -> None:
    content = {
        "images": [{"id": image, "file_name": f"{image:012d}.jpg"} for image in images],
        "categories": [{"id": id, "name": name} for id, name in zip(CATEGORY_IDS, CATEGORIES, strict=True)],
        "annotations": [
            {"id": number, "image_id": image, "category_id": CATEGORY_IDS[column], "iscrowd": 0}
            for number, (image, column) in enumerate(shown, start=1)
        ],
    }
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


@needs_mlt
def test_coco_mlt_has_its_published_groups(mlt: Path) -> None:
    plan = load_scenario("coco-mlt", {"dataset.root": str(mlt), "dataset.ids": str(mlt / "ids.txt")}).plan()
    positives = plan.groups.positives
    assert (positives.min(), positives.max(), plan.class_names[positives.argmax()]) == (6, 1128, "person")
    assert [len(plan.groups.columns(group)) for group in ("head", "medium", "tail")] == [22, 33, 25]
    assert plan.class_names[:4] == ("airplane", "apple", "backpack", "banana")
    assert plan.class_names[-2:] == ("wine glass", "zebra")
    assert [len(task) for task in plan.tasks] == [355, 1217, 1219, 439, 1415, 628, 333, 587]
    assert len(np.unique(np.concatenate([task.samples for task in plan.tasks]))) == 1909


@needs_mlt
def test_columns_of_coco_mlt_keep_their_counts(mlt: Path) -> None:
    """Category ids, gaps and all, are not confused on the way to alphabetical columns."""
    source = load_scenario("coco-mlt", {"dataset.root": str(mlt), "dataset.ids": str(mlt / "ids.txt")}).source
    counts = np.loadtxt(LABELS, delimiter=",", skiprows=1, dtype=np.int64)[:, 1:].sum(axis=0)
    found = dict(zip(source.class_names, (source.labels("train") == 1).sum(axis=0).tolist(), strict=True))
    assert found == dict(zip(CATEGORIES, counts.tolist(), strict=True))
