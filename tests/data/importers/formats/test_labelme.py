"""LabelMe: shapes or flags, paths of other systems, labels that are no class."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clsim.errors import ClsimError

PICTURES = {f"{split}/{number}.jpg": None for split in ("train", "test") for number in range(3)}


def content(image: str | None, *labels: str, **flags: bool) -> str:
    shapes = [{"label": label, "points": [[0, 0], [1, 1]], "shape_type": "rectangle"} for label in labels]
    return json.dumps({"version": "5.2.1", "flags": flags, "shapes": shapes, "imagePath": image, "imageData": None})


FILES = {
    "train/0.json": content("0.jpg", "cat", "cat", "__ignore__"),
    "train/json/1.json": content("..\\1.jpg", "cat", "dog"),
    "train/2.json": content(None, "dog"),
    "test/0.json": content("0.jpg", "cat"),
    "test/1.json": content("1.jpg", "dog"),
    "settings.json": '{"other": 1}',
    **PICTURES,
}


def test_shapes_and_paths(importing: Any) -> None:
    found = importing("labelme", FILES)
    assert found.shown("train") == {"train/0.jpg": "cat", "train/2.jpg": "dog", "train/1.jpg": "cat dog"}
    assert found.shown("test") == {"test/0.jpg": "cat", "test/1.jpg": "dog"}  # 2.jpg has no file: not annotated
    assert "1 shapes '__ignore__' are left out: no class" in found.report
    assert '1 JSON files without "shapes" are passed over' in found.report


def test_flags_are_classes_and_both_need_a_word(importing: Any) -> None:
    flags = {
        "train/0.json": content("0.jpg", day=True, night=False),
        "train/1.json": content("1.jpg", night=True),
        "test/0.json": content("0.jpg", day=True, night=True),
    }
    files = {**flags, **PICTURES}
    assert importing("labelme", files).shown("train") == {"train/0.jpg": "day", "train/1.jpg": "night"}
    with pytest.raises(ClsimError, match="has shapes and flags; --set labels=shapes or labels=flags says"):
        importing("labelme", {"train/2.json": content("2.jpg", "day")})
    assert importing("labelme", {}, labels="flags").shown("train")["train/2.jpg"] == ""


def test_a_shape_without_a_label_is_an_error_and_so_is_a_cut_file(importing: Any) -> None:
    with pytest.raises(ClsimError, match=r"train/0\.json: shapes\[0\]\.label: given '', allowed: a text"):
        importing("labelme", {**FILES, "train/0.json": content("0.jpg", "")})
    with pytest.raises(ClsimError, match=r"test/0\.json:1: not valid JSON: .*; is the file complete\?$"):
        importing("labelme", {**FILES, "test/0.json": '{"shapes": ['})
