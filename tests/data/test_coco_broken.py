"""COCO folders: files that are missing or broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clsim.data.coco import Coco, CocoConfig
from clsim.data.coco_forms import annotation_file
from clsim.data.coco_parser import parse_annotations
from tests.fixtures import coco_folders
from tests.fixtures.coco_folders import TEST, TRAIN, content, problems, source, write

root = coco_folders.root


def test_a_missing_annotation_file_says_what_to_download(tmp_path: Path) -> None:
    (text,) = problems(lambda: source(tmp_path, train="train2017").labels("train"))
    assert text == (
        f"{tmp_path}/annotations/instances_train2017.json: no such file; download "
        f"http://images.cocodataset.org/annotations/annotations_trainval2017.zip and unpack it into {tmp_path}; "
        "clsim downloads nothing"
    )


def test_a_missing_split_names_those_that_are_there(root: Path) -> None:
    (text,) = problems(lambda: source(root, train="tain2014").labels("train"))
    assert text.endswith("no such file; splits there: train2014, val2014, did you mean 'train2014'?")


@pytest.mark.parametrize("wrong", [".", "coco/annotations"])
def test_a_root_one_level_off_is_seen(root: Path, wrong: str) -> None:
    (text,) = problems(lambda: source(root.parent / wrong).labels("train"))
    assert text.endswith(f"no such file; did you mean dataset.root: {root}?")


def test_without_a_root_it_is_asked_for() -> None:
    assert problems(lambda: Coco(CocoConfig(name="coco")).labels("train")) == [
        "not set: where your COCO lies; give --set dataset.root=FOLDER"
    ]


def test_a_cut_download_is_told(root: Path) -> None:
    file = annotation_file(root, "train2014")
    file.write_bytes(file.read_bytes()[:200])
    (text,) = problems(lambda: source(root).labels("train"))
    assert text.startswith(f"{file}: not valid JSON at line 1, column ")
    assert text.endswith("is the file complete?")


def test_bytes_that_are_no_text_are_told(root: Path) -> None:
    file = annotation_file(root, "train2014")
    file.write_bytes(b'{"images": "\xff"}')
    (text,) = problems(lambda: source(root).labels("train"))
    assert text.startswith(f"{file}: not valid JSON: 'utf-8' codec")


@pytest.mark.parametrize("damage", ["9" * 5000, "[" * 100_000])
def test_json_that_python_refuses_is_told(root: Path, damage: str) -> None:
    file = annotation_file(root, "train2014")
    file.write_text(f'{{"images": {damage}')
    (text,) = problems(lambda: source(root).labels("train"))
    assert text.startswith(f"{file}: not valid JSON: ")


def change(section: str, position: int, **fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda value: value[section][position].update(fields)


@pytest.mark.parametrize(
    ("break_it", "expected"),
    [
        (lambda value: value.pop("categories"), "no list 'categories'; is this COCO's instances_*.json?"),
        (lambda value: value.update(images={}), "no list 'images'; is this COCO's instances_*.json?"),
        (change("images", 0, id="nine"), "images[0].id: given 'nine', allowed: a whole number of 64 bits"),
        (change("images", 1, id=True), "images[1].id: given True, allowed: a whole number of 64 bits"),
        (change("images", 3, id=9), "images[3].id: 9 is there a second time"),
        (
            change("images", 1, file_name="COCO_train2014_000000000009.jpg"),
            "images[1].file_name: 'COCO_train2014_000000000009.jpg' is there a second time",
        ),
        (change("categories", 2, name=None), "categories[2].name: given None, allowed: a text"),
        (change("images", 0, id=2**63), f"images[0].id: given {2**63}, allowed: a whole number of 64 bits"),
        (change("images", 0, file_name="a\0b.jpg"), r"images[0].file_name: given 'a\x00b.jpg', allowed: a text"),
        (change("images", 0, file_name="\ud800.jpg"), r"images[0].file_name: given '\ud800.jpg', allowed: a text"),
        (change("images", 0, file_name=" "), "images[0].file_name: given ' ', allowed: a text"),
        (change("categories", 0, name="a\0b"), r"categories[0].name: given 'a\x00b', allowed: a text"),
        (change("categories", 0, name="\udfff"), r"categories[0].name: given '\udfff', allowed: a text"),
        (change("categories", 1, name="dog"), "categories[1].name: 'dog' is there a second time"),
        (change("images", 0, id=9.5), "images[0].id: given 9.5, allowed: a whole number of 64 bits"),
        (change("annotations", 0, image_id=10), "annotations[0].image_id: 10 is no id of an image"),
        (change("annotations", 0, category_id=2), "annotations[0].category_id: 2 is no id of a category"),
        (lambda value: value.update(annotations=[]), "no image has a label; crowd annotations do not count as one"),
    ],
)
def test_a_file_in_another_format_is_explained(
    root: Path, break_it: Callable[[dict[str, Any]], None], expected: str
) -> None:
    value = content(TRAIN, "train2014")
    break_it(value)
    file = write(root, "train2014", value)
    assert problems(lambda: parse_annotations(file)) == [f"{file}: {expected}"]


def test_a_list_is_no_annotation_file(root: Path) -> None:
    file = annotation_file(root, "train2014")
    file.write_text("[]")
    assert len(problems(lambda: parse_annotations(file))) == 4


def test_many_problems_are_cut_short(root: Path) -> None:
    value = content({image: [(1, 0)] for image in range(1, 30)}, "train2014")
    for annotation in value["annotations"]:
        annotation["category_id"] = 2
    file = write(root, "train2014", value)
    found = problems(lambda: parse_annotations(file))
    assert len(found) == 11
    assert found[0] == "29 problems, the first 10:"


def test_splits_with_other_categories_are_refused(root: Path) -> None:
    value = content(TEST, "val2014")
    value["categories"][0]["name"] = "dogs"
    file = write(root, "val2014", value)
    assert problems(lambda: source(root).labels("test"), "test") == [
        f"{file}: other categories than instances_train2014.json: missing 'dog'; not there 'dogs', did you mean 'dog'?"
    ]
