"""NUS-WIDE's own files: lists of images, one file of flags a concept, and what is said about those that do not fit."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clsim.data.check import check_source
from clsim.data.nuswide import NusWide, NusWideConfig
from clsim.data.recognise import recognise
from clsim.errors import ScenarioError, Unplannable
from clsim.scenario import load_scenario

TRAIN = {"zoo\\2_b.jpg": "11", "actor\\1_a.jpg": "10", "zoo\\3_c.jpg": "00"}  # flags of animal, sky
TEST = {"actor\\9_z.jpg": "01", "zoo\\4_d.jpg": "10"}
CONCEPTS = ("sky", "animal")
Flags = dict[str, str]


def write(root: Path, name: str, text: str) -> Path:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode())
    return file


def write_part(root: Path, name: str, images: Flags, labels: str, end: str) -> None:
    write(root, f"ImageList/{name}.txt", "".join(f"{image} \r\n" for image in images))
    for column, concept in enumerate(sorted(CONCEPTS)):
        write(root, f"{labels}/Labels_{concept}{end}", "".join(f"{flags[column]}\n" for flags in images.values()))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in NUS-WIDE's layout, without images."""
    monkeypatch.setenv("CLSIM_CACHE", str(tmp_path / "cache"))
    home = tmp_path / "nus"
    write_part(home, "TrainImagelist", TRAIN, "Groundtruth/TrainTestLabels", "_Train.txt")
    write_part(home, "TestImagelist", TEST, "Groundtruth/TrainTestLabels", "_Test.txt")
    write_part(home, "Imagelist", {**TEST, **TRAIN}, "Groundtruth/AllLabels", ".txt")
    return home


def source(root: Path, **options: Any) -> NusWide:
    return NusWide(NusWideConfig(name="nuswide", root=str(root), **options))


def problem(call: Callable[[], object], key: str = "root") -> str:
    with pytest.raises(Unplannable) as caught:
        call()
    assert caught.value.path == ("dataset", key)
    return caught.value.text


def paint(data: NusWide, *splits: Any) -> None:
    for split in splits:
        for row, file in enumerate(data.files(split)):
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (12, 10), (20 * row, 7, 7)).save(file)


def test_rows_follow_the_list_and_columns_the_alphabet(root: Path) -> None:
    data = source(root)
    assert data.class_names == ("animal", "sky")
    np.testing.assert_array_equal(data.labels("train"), np.array([[1, 1], [1, 0], [0, 0]], np.int8), strict=True)
    np.testing.assert_array_equal(data.labels("test"), np.array([[0, 1], [1, 0]], np.int8), strict=True)
    assert data.image_names("train") == ["zoo/2_b.jpg", "actor/1_a.jpg", "zoo/3_c.jpg"]
    assert data.files("test")[0] == root / "Flickr" / "actor" / "9_z.jpg"
    assert data.training_rows() is None
    with pytest.raises(ValueError, match="read-only"):
        data.labels("train")[0, 0] = 1


def test_all_labels_serve_in_place_of_those_of_the_parts(root: Path) -> None:
    (expected, names), parts = (source(root).labels("test"), source(root).image_names("test")), ["train", "test"]
    (root / "Groundtruth" / "TrainTestLabels").rename(root / "TrainTestLabels")  # as the PRS repository has them
    np.testing.assert_array_equal(source(root).labels("test"), expected)
    everything = source(root, train="all", test={"share": 0.5})
    rows = {name: row for split in ("train", "test") for name, row in zip(*both(everything, split), strict=True)}
    joined = source(root, train=parts, test={"share": 0.5})
    assert rows == {name: row for split in ("train", "test") for name, row in zip(*both(joined, split), strict=True)}
    for file in (root / "TrainTestLabels").iterdir():
        file.unlink()
    (root / "TrainTestLabels").rmdir()
    np.testing.assert_array_equal(source(root).labels("test"), expected)
    assert source(root).image_names("test") == names
    write(root, "ImageList/TestImagelist.txt", "actor\\9_z.jpg\nzoo\\5.jpg\n")
    assert "1 images are not in " in problem(lambda: source(root).labels("test"))


def both(data: NusWide, split: Any) -> tuple[list[str], list[list[int]]]:
    return data.image_names(split), data.labels(split).tolist()


def test_lists_of_ids_choose_among_all_images(root: Path, tmp_path: Path) -> None:
    dataset = {"name": "nuswide", "root": str(root), "train": "all", "test": "test"}
    content: dict[str, Any] = {"name": "x", "dataset": dataset, "training": {"epochs": 1, "optimizer": {"lr": 1.0}}}
    content["stream"] = {"increment": 1, "assignment": {"given": str(write(tmp_path, "tasks.csv", "image,task\n"))}}
    with pytest.raises(ScenarioError, match=r"dataset\.test: .*test_ids, which says what of all is for testing"):
        load_scenario(content)
    dataset["test_ids"] = str(write(tmp_path, "test.txt", "zoo\\4_d.jpg\n"))
    write(tmp_path, "tasks.csv", "image,task\nzoo\\2_b.jpg,0\nactor/1_a.jpg,0\nactor/9_z.jpg,1\n")
    plan = load_scenario(content).plan()
    assert [len(task) for task in plan.tasks] == [2, 1]
    assert plan.test_samples.tolist() == [1]
    write(tmp_path, "test.txt", "zoo/4_d.jpg\nactor\\9_z.jpg\n")
    with pytest.raises(ScenarioError, match=r"1 of these images are trained on in task 1, such as 'actor/9_z.jpg'"):
        load_scenario(content).plan()
    write(tmp_path, "test.txt", "zoo/4_d.jpg\nzoo\\4_d.jpg\n")
    with pytest.raises(ScenarioError, match=r"test\.txt:2: .* is there a second time, first in line 1"):
        load_scenario(content).plan()


def test_images_are_read_where_they_lie_and_missing_ones_are_counted(root: Path) -> None:
    data = source(root)
    assert "actor/9_z.jpg: no such file (2 of 2 images of test are missing); dataset.image_folder says" in problem(
        lambda: data.images("test", 16)
    )
    elsewhere = source(root, image_folder=str(root.parent / "photos"))
    paint(elsewhere, "train", "test")
    assert elsewhere.images("train", 16).shape == (3, 3, 16, 16)
    checks = check_source(elsewhere)
    assert [(check.images, check.positives.tolist(), check.files) for check in checks] == [
        (3, [2, 1], 3),
        (2, [1, 1], 2),
    ]
    assert checks[0].without_positive == 1


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("Groundtruth/TrainTestLabels/Labels_sky_Train.txt", "1\n0\n", "2 lines, but .*Imagelist.txt lists 3 images$"),
        ("Groundtruth/TrainTestLabels/Labels_sky_Train.txt", "", "0 lines, but .* lists 3 images$"),
        ("Groundtruth/TrainTestLabels/Labels_sky_Train.txt", "1\n\n0\n", r"_Train\.txt:2: given '', allowed: 0, 1$"),
        ("Groundtruth/TrainTestLabels/Labels_sky_Train.txt", "1\n2\n0", r"_Train\.txt:2: given '2', allowed: 0, 1$"),
        (
            "ImageList/TrainImagelist.txt",
            "a\\1.jpg\n..\\2.jpg\nb.jpg",
            r"list\.txt:2: given '\.\..*2\.jpg', expected the",
        ),
        ("ImageList/TrainImagelist.txt", "a\\1.jpg\na/1.jpg\nb.jpg", r"list\.txt:2: 'a/1\.jpg' is there a second time"),
        ("ImageList/TrainImagelist.txt", "a\0.jpg\nC:\\b.jpg\n" + "c" * 500, "2 problems:"),
        ("ImageList/TrainImagelist.txt", "\n", "names no image"),
    ],
)
def test_files_that_do_not_fit(root: Path, file: str, text: str, expected: str) -> None:
    write(root, file, text)
    with pytest.raises(Unplannable, match=expected):
        source(root).labels("train")


def test_what_is_not_there_is_named(root: Path) -> None:
    (root / "Groundtruth/TrainTestLabels/Labels_sky_Test.txt").unlink()
    text = problem(lambda: source(root).class_names)
    assert text.endswith("/TrainTestLabels/Labels_sky_Test.txt: no such file (1 of 2 concepts lack theirs)")
    (root / "ImageList/TestImagelist.txt").unlink()
    os.mkfifo(root / "ImageList/TestImagelist.txt")
    write(root, "Groundtruth/TrainTestLabels/Labels_sky_Test.txt", "0\n1\n")
    assert "TestImagelist.txt: no such file" in problem(lambda: source(root).labels("test"))
    fifo = root / "Groundtruth/TrainTestLabels/Labels_sky_Train.txt"
    fifo.unlink()
    os.mkfifo(fifo)
    assert problem(lambda: source(root).labels("train")) == f"{fifo}: cannot be read: not a regular file"
    assert "Groundtruth.zip" in problem(lambda: source(root.parent).class_names)
    assert problem(lambda: source(root / "none").class_names) == f"{root / 'none'}: no such folder"
    with pytest.raises(Unplannable, match=r"root: not set: .*--set dataset\.root=FOLDER"):
        NusWide(NusWideConfig(name="nuswide")).labels("train")


def test_its_folder_is_recognised(root: Path) -> None:
    found = recognise(root)
    assert (found.layout, found.dataset) == ("NUS-WIDE", {"name": "nuswide", "root": str(root)})
