"""Lists of images and names of files as tools write them, in PASCAL VOC's layout."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clsim.data.recognise import recognise
from clsim.data.voc import Voc
from clsim.data.voc_layout import image_files, read_ids
from clsim.errors import Unplannable

Make = Callable[..., Voc]


@pytest.mark.parametrize(
    "lines",
    [
        "\ufeffa\nb\n",
        "a.jpg\nb.JPG\n",
        "JPEGImages/a.png\nJPEGImages/b.png\n",
        "/home/me/VOC/JPEGImages/a.jpg\nC:\\data\\b.jpg\n",
        "Annotations/a.xml\nb.xml\n",
        "a  1\nb 1\n",
        "./b.jpg 1\r\n\r\na.jpg\t1\r\n",
    ],
)
def test_forms_of_one_list(tmp_path: Path, lines: str) -> None:
    (tmp_path / "ids.txt").write_bytes(lines.encode())
    assert read_ids(tmp_path / "ids.txt", "root") == ["a", "b"]


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ("a 1\nb -1\n", ":1: given 'a 1', expected one image id; lines of a list may end in 1, if all do"),
        ("a\nb 1\n", ":2: given 'b 1', expected one image id"),
        ("x/a.jpg\ny/a.jpg\n", ": image a is listed more than once"),
        ("../a.jpg\n", ":1: given '../a.jpg', expected one image id"),
        ("a b c\n", ":1: given 'a b c', expected one image id"),
    ],
)
def test_lists_that_may_mean_something_else(tmp_path: Path, lines: str, text: str) -> None:
    (tmp_path / "ids.txt").write_text(lines)
    with pytest.raises(Unplannable) as caught:
        read_ids(tmp_path / "ids.txt", "root")
    assert caught.value.text.startswith(f"{tmp_path}/ids.txt{text}")


def test_images_may_have_other_endings_and_capitals(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", "b.PNG", "c.JPG", "d.txt", "e.jpeg", "e.png"):
        (tmp_path / name).touch()
    assert [file.name for file in image_files(tmp_path, ["a", "b", "c", "d"])] == ["a.jpg", "b.PNG", "c.JPG", "d.jpg"]
    with pytest.raises(Unplannable, match=r"image e may be e\.jpeg or e\.png$"):
        image_files(tmp_path, ["a", "e"])
    assert image_files(tmp_path / "gone", ["a"]) == [tmp_path / "gone" / "a.jpg"]


def test_a_folder_of_ones_own_as_tools_write_it(written: Path, tmp_path: Path, voc: Make) -> None:
    """Any name of a folder, other endings, BOM, extensions and flags, class files too: the labels stay the same."""
    home = Path(shutil.copytree(written / "VOC2007", tmp_path / "dev" / "My photos (1)"))
    for path in (home / "JPEGImages").iterdir():
        path.rename(path.with_suffix(".JPG"))
    for path in sorted((home / "Annotations").iterdir())[1::2]:
        path.rename(path.with_suffix(".XML"))
    for path in (home / "ImageSets" / "Main").glob("*.txt"):
        lines = path.read_text().splitlines()
        path.write_text("\ufeff" + "".join(f"{line.replace(' ', '.jpg ', 1)}\n" for line in lines))
        if len(path.stem.split("_")) == 1:
            path.write_text("\ufeff" + "".join(f"JPEGImages/{line}.jpg 1\n" for line in lines))
    splits = {"train": ["My photos (1) trainval"], "test": ["My photos (1) test"]}
    for labels in ("annotations", "class-files"):
        source, expected = voc(tmp_path / "dev", labels=labels, **splits), voc(written, labels=labels)
        for split in ("train", "test"):
            np.testing.assert_array_equal(source.labels(split), expected.labels(split))
            assert all(file.is_file() for file in source.files(split))
    found: Any = recognise(tmp_path / "dev").dataset
    assert (found["train"], found["test"]) == (splits["train"], splits["test"])


def test_problems_of_all_class_files_are_counted(devkit: Path, voc: Make) -> None:
    for name in range(4):
        path = devkit / "VOC2007" / "ImageSets" / "Main" / f"{name}_trainval.txt"
        path.write_text(path.read_text().replace("000003", "000003 x").replace("000004", "y x"))
    with pytest.raises(Unplannable) as caught:
        voc(devkit, labels="class-files").labels("train")
    assert caught.value.text.startswith("8 problems:\n")
