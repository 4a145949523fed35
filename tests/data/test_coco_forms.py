"""Forms of COCO files that exporters write: each gives the labels of the official form, and none loses a label."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clsim import load_scenario
from clsim.data.coco import Coco, CocoConfig
from clsim.data.coco_parser import parse_annotations
from clsim.errors import Unplannable

NAMES = ("cat", "dog", "unused")


def content(*shown: tuple[int, ...], names: tuple[str, ...] = NAMES, prefix: str = "") -> dict[str, Any]:
    """Return a file with one image per entry, which shows these categories."""
    pairs = [(row, category) for row, categories in enumerate(shown) for category in categories]
    return {
        "images": [{"id": row, "file_name": f"{prefix}{row}.jpg"} for row in range(len(shown))],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names)],
        "annotations": [{"id": n, "image_id": row, "category_id": one} for n, (row, one) in enumerate(pairs)],
    }


def write(path: Path, value: dict[str, Any], mark: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(mark + json.dumps(value), encoding="utf-8")
    return path


def edit(section: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda value: [change(entry) for entry in value[section]]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLSIM_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    "change",
    [
        edit("images", lambda entry: entry.update(id=str(entry["id"]))),
        edit("annotations", lambda entry: entry.update(image_id=float(entry["image_id"]))),
        edit("annotations", lambda entry: entry.update(category_id=f" {entry['category_id']}")),
        edit("annotations", lambda entry: entry.pop("id")),
        edit("annotations", lambda entry: entry.update(id=7)),
        lambda value: value["images"].append({**value["images"][0], "license": 3}),
        lambda value: value["categories"].append(value["categories"][1]),
        lambda value: None,
    ],
)
def test_forms_that_mean_one_thing(tmp_path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    value = content((0,), (0, 1), (1,))
    change(value)
    labels = parse_annotations(write(tmp_path / "a.json", value, "\ufeff"))
    assert labels.class_names == NAMES
    assert labels.labels.tolist() == [[1, 0, 0], [1, 1, 0], [0, 1, 0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda value: value["images"].append({"id": 0, "file_name": "z.jpg"}),
            r"images\[3\]\.id: 0 is there a second",
        ),
        (
            lambda value: value["images"].append({"id": "0", "file_name": "z.jpg"}),
            r"images\[3\]\.id: 0 is there a second",
        ),
        (lambda value: value["categories"].append({"id": 0, "name": "x"}), r"categories\[3\]\.id: 0 is there a second"),
        (edit("images", lambda entry: entry.update(id=entry["id"] + 0.5)), r"images\[0\]\.id: given 0\.5, allowed"),
    ],
)
def test_forms_that_may_mean_two_things_are_errors(tmp_path: Path, change: Any, message: str) -> None:
    value = content((0,), (0, 1), (1,))
    change(value)
    with pytest.raises(Unplannable, match=message):
        parse_annotations(write(tmp_path / "a.json", value))


def of(root: Path, **options: Any) -> Coco:
    return Coco(CocoConfig(name="coco", root=str(root), **options))


def test_roboflow_has_its_file_beside_the_images(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        write(tmp_path / split / "_annotations.coco.json", content((0,), (1,)))
    source = of(tmp_path, train="train", test="valid")
    assert source.labels("train").tolist() == [[1, 0, 0], [0, 1, 0]]
    assert source.files("test") == [tmp_path / "valid" / "0.jpg", tmp_path / "valid" / "1.jpg"]


@pytest.mark.parametrize(
    ("folder", "prefix", "file"),
    [
        ("images", "", "images/0.jpg"),
        ("images/default", "", "images/default/0.jpg"),
        ("default", "", "default/0.jpg"),
        ("default", "default/", "default/0.jpg"),
        ("default/default", "default/", "default/default/0.jpg"),
    ],
)
def test_folders_of_cvat_and_names_with_the_folder_of_the_split(
    tmp_path: Path, folder: str, prefix: str, file: str
) -> None:
    (tmp_path / folder).mkdir(parents=True)
    shown = [(0,), (1,)] * 4
    write(tmp_path / "annotations" / "instances_default.json", content(*shown, prefix=prefix))
    source = of(tmp_path, train="default", test={"share": 0.25})
    assert tmp_path / file in [*source.files("train"), *source.files("test")]


def test_super_categories_and_the_background_are_left_out_if_no_image_shows_them(tmp_path: Path) -> None:
    names = ("cat", "dog", "pets", "__background__", "bird")
    train, test = content((0,), (1,), names=names), content((0,), (1,), names=names)
    for value in (train, test):
        for entry in value["categories"][:2]:
            entry["supercategory"] = "pets"
    write(tmp_path / "annotations" / "instances_a.json", train)
    write(tmp_path / "annotations" / "instances_b.json", test)
    source = of(tmp_path, train="a", test="b")
    assert source.class_names == ("bird", "cat", "dog")
    assert source.notes() == ["super-categories and background that no image shows, left out: __background__, pets"]
    assert source.labels("test").tolist() == [[0, 1, 0], [0, 0, 1]]
    assert of(tmp_path, train="a", test={"share": 0.5}).class_names == ("bird", "cat", "dog")
    test["annotations"].append({"image_id": 0, "category_id": 2})
    write(tmp_path / "annotations" / "instances_b.json", test)
    shown = of(tmp_path, train="a", test="b")
    assert shown.class_names == ("bird", "cat", "dog", "pets")
    assert shown.labels("test")[:, 3].tolist() == [1, 0]


def test_what_is_left_out_is_said_by_plan(tmp_path: Path) -> None:
    write(tmp_path / "a.json", content(*[(0,), (1,)] * 5, names=("cat", "dog", "background", "bird")))
    section = {"name": "coco", "train_file": str(tmp_path / "a.json"), "test": {"share": 0.2}, "classes": "used"}
    training = {"epochs": 1, "optimizer": {"lr": 0.1}}
    scenario = load_scenario({"name": "own", "dataset": section, "stream": {"increment": 1}, "training": training})
    assert scenario.plan().class_names == ("cat", "dog")
    assert scenario.data_notes() == [
        "super-categories and background that no image shows, left out: background",
        "classes that no image shows, left out (dataset.classes: used): bird",
    ]


def test_splits_may_differ_in_categories_that_neither_shows(tmp_path: Path) -> None:
    write(tmp_path / "annotations" / "instances_a.json", content((0,), (1,)))
    write(tmp_path / "annotations" / "instances_b.json", content((2,), (0, 2), names=("cat", "super", "dog")))
    source = of(tmp_path, train="a", test="b")
    assert source.class_names == NAMES
    assert source.labels("test").tolist() == [[0, 1, 0], [1, 1, 0]]
    write(tmp_path / "annotations" / "instances_b.json", content((2,), (0, 1), names=("cat", "super", "dog")))
    with pytest.raises(
        Unplannable, match=r"other categories than instances_a\.json: missing 'unused'; not there 'super'"
    ):
        of(tmp_path, train="a", test="b").labels("test")
