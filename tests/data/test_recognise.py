"""Layouts that are recognised in somebody's folder; in each of them the section found reads the labels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from clsim.data.digits import Digits, DigitsConfig
from clsim.data.export import write_coco
from clsim.data.recognise import recognise
from clsim.errors import ClsimError
from clsim.scenario import load_scenario

SHARE = {"share": 0.2}


def fill(root: Path, files: Mapping[str, str | int]) -> Path:
    """Write files: a text, or for a number an image file of other content than all others."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else f"image {name} {content}")
    return root


def pictures(*folders: str, count: int = 5) -> dict[str, int]:
    return {f"{folder}/{number}.jpg": number for folder in folders for number in range(count)}


def classes(dataset: dict[str, Any]) -> tuple[str, ...]:
    training = {"epochs": 1, "optimizer": {"lr": 1.0}}
    scenario = load_scenario({"name": "x", "dataset": dataset, "stream": {"increment": 1}, "training": training})
    assert scenario.source.labels("train").any()
    assert scenario.source.labels("test").any()
    return scenario.source.class_names


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (("cat", "dog/young"), {"test": SHARE}),
        (("train/cat", "train/dog", "test/cat"), {"train": "train", "test": "test"}),
        (("Training/cat", "Training/dog", "val/dog", "other/x"), {"train": "Training", "test": "val"}),
        (("train/cat", "train/dog"), {"train": "train", "test": SHARE}),
    ],
)
def test_one_folder_per_class(tmp_path: Path, folders: tuple[str, ...], expected: dict[str, Any]) -> None:
    found = recognise(fill(tmp_path, pictures(*folders, ".git/x")))
    assert found.dataset == {"name": "folder", "root": str(tmp_path), **expected}
    assert classes(found.dataset) == ("cat", "dog")


def test_a_class_that_may_mean_none_is_pointed_at(tmp_path: Path) -> None:
    (note,) = recognise(fill(tmp_path, pictures("Normal", "flu"))).notes
    assert note.startswith("no_finding: Normal ")


def test_voc_in_its_own_folder_or_above_it(written: Path) -> None:
    expected = {"name": "voc", "root": str(written), "train": ["2007 trainval"], "test": ["2007 test"]}
    for folder in (written, written / "VOC2007", written.parent):
        found = recognise(folder)
        assert found.dataset == {**expected, "class_names": list("0123456789")}
    assert classes(found.dataset) == tuple("0123456789")


def test_voc_of_other_names_without_a_test_split(tmp_path: Path) -> None:
    lists = {f"Mine/ImageSets/Main/{name}.txt": "a\nb\nc\nd\n" for name in ("train", "other")}
    of_classes = {f"Mine/ImageSets/Main/{name}_train.txt": "a 1\nb 1\nc -1\nd 1\n" for name in ("big cat", "dog")}
    found = recognise(fill(tmp_path, {**lists, **of_classes, **pictures("Mine/JPEGImages")}))
    assert found.dataset == {
        **{"name": "voc", "root": str(tmp_path), "train": ["Mine train"], "test": SHARE},
        **{"labels": "class-files", "class_names": ["big cat", "dog"]},
    }
    assert classes(found.dataset) == ("big cat", "dog")


def test_coco_in_its_layout_or_as_single_files(tmp_path: Path) -> None:
    home = write_coco(Digits(DigitsConfig(name="digits", train=24, test=12)), tmp_path / "coco", 32)
    found = recognise(home)
    assert found.dataset == {"name": "coco", "root": str(home), "train": "train2014", "test": "val2014"}
    assert classes(found.dataset) == tuple("0123456789")
    for split, name in (("train2014", "train"), ("val2014", "valid")):  # as labelling tools export it
        (home / split).rename(home / name)
        (home / "annotations" / f"instances_{split}.json").rename(home / name / "_annotations.coco.json")
    (home / "annotations").rmdir()
    (home / "package.json").write_text('{"images": 3}')
    found = recognise(home)
    files = {
        f"{key}_file": str(home / name / "_annotations.coco.json")
        for key, name in (("train", "train"), ("test", "valid"))
    }
    assert found.dataset == {"name": "coco", **files}
    (home / "all").mkdir()
    for name in ("train", "valid"):
        for image in (home / name).glob("*.jpg"):
            image.rename(home / "all" / image.name)
    assert recognise(home).dataset == {"name": "coco", **files, "image_folder": str(home / "all")}
    assert classes(recognise(home).dataset) == tuple("0123456789")
    (home / "valid" / "_annotations.coco.json").unlink()
    alone = recognise(home).dataset
    assert alone == {
        "name": "coco",
        "train_file": files["train_file"],
        "test": SHARE,
        "image_folder": str(home / "all"),
    }


def test_a_table(tmp_path: Path) -> None:
    rows = [f"{n}.jpg,{'test' if n > 5 else 'train'},{n % 2},1" for n in range(8)]
    found = recognise(fill(tmp_path, {"all.csv": "\n".join(["path,split,cat,dog", *rows]), **pictures("cat")}))
    assert found.layout == "a table of images"
    assert classes(found.dataset) == ("cat", "dog")


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"readme.txt": "x", "one/a.txt": "x", "two/b.txt": "x"},
        pictures("cat"),  # one class is no choice
        pictures("."),
        {"a.json": "[1", "b.json": json.dumps({"images": [], "annotations": {}}), "c.csv": "a,b\n1,2\n"},
    ],
)
def test_what_is_not_known_is_said_with_what_is(tmp_path: Path, files: dict[str, Any]) -> None:
    with pytest.raises(ClsimError, match=rf"^{tmp_path}: holds none of the layouts that are known: VOC [^\n]*$"):
        recognise(fill(tmp_path, files))


def test_a_table_that_cannot_be_read_is_said_where_nothing_else_is_there(tmp_path: Path) -> None:
    fill(tmp_path, {"notes.csv": "path,cat\n1.jpg,0,1\n"})
    with pytest.raises(ClsimError, match=r"/notes\.csv:2: 3 cells under 2 columns"):
        recognise(tmp_path)
    assert recognise(fill(tmp_path, pictures("cat", "dog"))).layout == "one folder per class"


@pytest.mark.parametrize(
    ("format", "files"),
    [
        ("cvat", {"annotations.xml": "<?xml version='1.0'?>\n<annotations><image name='a.jpg'/></annotations>"}),
        ("label-studio", {"p.json": '[{"id": 1, "annotations": [], "data": {}}]'}),
        ("labelme", {"a/1.json": '{"version": "5", "flags": {}, "shapes": []}'}),
        ("yolo", {"data.yaml": "names: [a, b]\ntrain: train/images\n", "train/labels/1.txt": "0 1 1 1 1"}),
        ("yolo", {"classes.txt": "a\nb\n", "labels/1.txt": "0 0.5 0.5 1 1"}),
        (
            "open-images",
            {"train-annotations-human-imagelabels.csv": "ImageID,Source,LabelName,Confidence\na,v,/m/1,1\n"},
        ),
    ],
)
def test_an_export_is_named_with_the_command_that_imports_it(
    tmp_path: Path, format: str, files: dict[str, str]
) -> None:
    with pytest.raises(ClsimError, match=rf": looks like [^\n]*: clsim import {format} {tmp_path} DIR$"):
        recognise(fill(tmp_path, {**files, **pictures("images", "other")}))


def test_a_table_that_an_import_reads_better_is_read_with_a_note(tmp_path: Path) -> None:
    rows = "".join(f"{number}.png,{'Mass' if number % 2 else 'Edema|Mass'},{number}\n" for number in range(6))
    found = recognise(fill(tmp_path, {"Data.csv": f"Image Index,Finding Labels,Patient ID\n{rows}"}))
    assert found.layout == "a table of images"
    assert found.notes[-1].endswith(f"which an import reads best: clsim import nih {tmp_path} DIR")


def test_a_folder_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(ClsimError, match=r"/none: no such folder$"):
        recognise(tmp_path / "none")
