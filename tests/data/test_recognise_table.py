"""What the columns of a table mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clsim.data.recognise import recognise
from clsim.scenario import load_scenario

BITS = [(f"{n}.jpg", n % 2, n % 3 and 1, ("train", "train", "val", "test")[n % 4]) for n in range(24)]


def found_in(folder: Path, **files: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the section and notes; check that the section reads two classes."""
    for name, text in files.items():
        (folder / name.replace("_", ".", 1)).write_text(text)
    found = recognise(folder)
    training = {"epochs": 1, "optimizer": {"lr": 1.0}}
    content = {"name": "x", "dataset": found.dataset, "stream": {"increment": 1}, "training": training}
    scenario = load_scenario(content)
    assert scenario.plan().n_classes == 2
    assert scenario.source.class_names == ("cat", "dog")
    return {key: value for key, value in found.dataset.items() if key != "name"}, found.notes


def test_columns_of_classes_and_a_split(tmp_path: Path) -> None:
    lines = [f"{path},{cat},{dog},{split}" for path, cat, dog, split in BITS]
    dataset, notes = found_in(tmp_path, all_csv="\n".join(["path,cat,dog,split", *lines]))
    assert dataset == {
        "file": str(tmp_path / "all.csv"),
        "label_columns": "rest",
        **{"split_column": "split", "train_splits": ["train"], "test_splits": ["test"], "other_splits": ["val"]},
    }
    assert notes == (
        "image_folder: no folder holds 0.jpg",
        "other_splits are left out; to train on them too: train_splits: [train, ...]",
    )


def test_other_columns_delimiter_folder_of_images_and_minus_one(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "0.jpg").touch()
    lines = [f"{path};{20 + n};{cat or -1};{dog}" for n, (path, cat, dog, _) in enumerate(BITS)]
    dataset, notes = found_in(tmp_path, all_csv="\n".join(["file;age;cat;dog", *lines]))
    assert dataset == {
        **{"file": str(tmp_path / "all.csv"), "path_column": "file", "delimiter": ";"},
        **{"image_folder": str(tmp_path / "photos"), "label_columns": ["cat", "dog"], "minus_one": "unknown"},
        "test": {"share": 0.2},
    }
    assert notes[-1] == "taken for no classes: age"
    assert notes[0].startswith("minus_one: ")


@pytest.mark.parametrize(("mark", "more"), [("|", {}), (",", {"separator": ","}), ("", {})])
def test_a_column_with_a_list_of_classes(tmp_path: Path, mark: str, more: dict[str, str]) -> None:
    both = f'"cat{mark}dog"' if mark else "dog"
    lines = [f"{path},x{n},{both if dog else 'cat'}" for n, (path, _, dog, _) in enumerate(BITS)]
    dataset, _ = found_in(tmp_path, all_csv="\n".join(["image,patient,Labels", *lines]))
    expected = {"file": str(tmp_path / "all.csv"), "path_column": "image", "label_list": "Labels", **more}
    assert dataset == {**expected, "test": {"share": 0.2}}


def test_a_comment_above_the_header_does_not_name_the_delimiter(tmp_path: Path) -> None:
    lines = [f"{path};{dog};{1 - int(dog or 0)}" for path, _, dog, _ in BITS]
    dataset, _ = found_in(tmp_path, all_csv="\n".join(["# made by a, b, c, d", "image;dog;cat", *lines]))
    assert dataset["delimiter"] == ";"


def test_two_tables_and_json_lines(tmp_path: Path) -> None:
    lines = [json.dumps({"path": path, "tags": ["cat", "dog"][: 1 + bool(dog)]}) for path, _, dog, _ in BITS]
    text = "\n".join(lines)
    dataset, _ = found_in(tmp_path, train_jsonl=text, test_jsonl=text.replace(".jpg", ".png"))
    assert dataset == {
        **{"train_file": str(tmp_path / "train.jsonl"), "test_file": str(tmp_path / "test.jsonl")},
        "label_list": "tags",
    }
