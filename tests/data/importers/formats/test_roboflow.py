"""Roboflow: a COCO file or a table per split, and its unused super-category."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clsim.errors import ClsimError

SPLITS = ("train", "valid", "test")
IMAGES = {f"{split}/{number}.jpg": None for split in SPLITS for number in range(2)}


def coco(*labels: tuple[int, ...], **changed: Any) -> str:
    images = [{"id": number, "file_name": f"{number}.jpg"} for number in range(len(labels))]
    annotations = [{"image_id": row, "category_id": one} for row, shown in enumerate(labels) for one in shown]
    names = ("animals", "cat", "dog")
    categories = [{"id": number, "name": name, "supercategory": "none"} for number, name in enumerate(names)]
    return json.dumps({"images": images, "annotations": annotations, "categories": categories} | changed)


def test_coco_per_split(importing: Any) -> None:
    files = {f"{split}/_annotations.coco.json": coco((1,), (2, 2, 1)) for split in SPLITS}
    found = importing("roboflow", {**files, **IMAGES, "test/_annotations.coco.json": coco((2,), ())})
    assert found.shown("train") == {"train/0.jpg": "cat", "train/1.jpg": "cat dog"}
    assert found.shown("test") == {"test/0.jpg": "dog", "test/1.jpg": ""}
    assert "classes that no image shows, left out (--set classes=all keeps them): 'animals'" in found.report
    assert "other_splits in the scenario: 'valid'" in found.report


def test_ids_and_crowds_are_read_as_coco_files_are(importing: Any) -> None:
    value = json.loads(coco((1,), (2,)))
    for entry in value["images"]:
        entry["id"] = str(entry["id"])
    value["annotations"][0]["iscrowd"] = "0"
    value["annotations"] += [{"image_id": 1.0, "category_id": "1", "iscrowd": "1"}]
    files = {f"{split}/_annotations.coco.json": json.dumps(value) for split in SPLITS}
    assert importing("roboflow", {**files, **IMAGES}).shown("train") == {"train/0.jpg": "cat", "train/1.jpg": "dog"}
    value["annotations"][0]["iscrowd"] = 2
    with pytest.raises(ClsimError, match=r"annotations\[0\]: iscrowd: given 2, allowed: 0, 1"):
        importing("roboflow", {**files, "train/_annotations.coco.json": json.dumps(value)})


def test_a_table_per_split_without_test_images(importing: Any) -> None:
    table = "filename, cat, dog\n0.jpg, 1, 0\n1.jpg, 1, 1\n"
    found = importing("roboflow", {"train/_classes.csv": table, "valid/_classes.csv": table, **IMAGES})
    assert found.shown("train") == {"train/0.jpg": "cat", "train/1.jpg": "cat dog"}
    assert found.shown("test") == {"valid/0.jpg": "cat", "valid/1.jpg": "cat dog"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("_annotations.coco.json", coco((7,)), r"annotations\[0\]: category_id: 7 is no id of a category$"),
        ("_annotations.coco.json", coco((1,), images=[]), r"annotations\[0\]: image_id is no id of an image$"),
        ("_annotations.coco.json", "[]", "not COCO's format: it needs the lists images, annotations, categories"),
        ("_classes.csv", "filename, cat, dog\n0.jpg, 2, 0\n", r"_classes\.csv:2: given 'cat': '2', allowed: 1 present"),
        ("_classes.csv", "filename, cat, dog\n0.jpg, 1\n", r"_classes\.csv:2: 2 cells under 3 columns"),
        ("_classes.csv", "file, cat, dog\n", r"_classes\.csv:1: the first column is 'file', not 'filename'"),
    ],
)
def test_what_is_not_understood_is_an_error(importing: Any, name: str, content: str, message: str) -> None:
    with pytest.raises(ClsimError, match=message):
        importing("roboflow", {f"train/{name}": content, **IMAGES})
