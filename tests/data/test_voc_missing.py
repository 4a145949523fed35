"""PASCAL VOC: what a folder may lack is named with what to download."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clsim.errors import Unplannable
from tests.fixtures.voc_folders import MAIN, Make, problem


def test_no_root_says_how_to_give_it(voc: Make) -> None:
    assert problem(voc(None)).text == "not set: where your VOCdevkit lies; give --set dataset.root=FOLDER"


def remove(*names: str) -> Callable[[Path], None]:
    def act(root: Path) -> None:
        for name in names:
            for path in root.glob(name):
                path.unlink()

    return act


OWN = "expected is {main}, as in PASCAL VOC; clsim downloads nothing"


@pytest.mark.parametrize(
    ("damage", "options", "text"),
    [
        (lambda root: root.rename(root.parent / "x"), {}, "{root}: no such folder; " + OWN),
        (
            lambda root: (root / "VOC2007").rename(root / "x"),
            {},
            "{root}/VOC2007: no such folder; " + OWN,
        ),
        (
            lambda root: (root / "VOC2007" / "ImageSets").rename(root / "x"),
            {},
            "{main}: no such folder; " + OWN,
        ),
        (
            remove(f"{MAIN}/trainval.txt"),
            {},
            "{main}/trainval.txt: no such file; splits there: test; " + OWN,
        ),
        (
            remove(),
            {"train": ["2007 trainvl"]},
            "{main}/trainvl.txt: no such file, did you mean 'trainval'?; splits there: test, trainval; " + OWN,
        ),
        (
            remove(),
            {"train": ["2012 trainval"]},
            "{root}/VOC2012: no such folder; expected is {root}/VOC2012/ImageSets/Main, ",
        ),
        (
            remove(f"{MAIN}/4_test.txt", f"{MAIN}/7_test.txt"),
            {"labels": "class-files"},
            "{main}/4_test.txt: no such file (2 of 10 are missing); " + OWN,
        ),
        (
            remove("VOC2007/Annotations/000002.xml"),
            {},
            "{root}/VOC2007/Annotations/000002.xml: no such file (1 of 24 are missing); expected is ",
        ),
        (
            remove("VOC2007/Annotations/*"),
            {},
            "{root}/VOC2007/Annotations/000001.xml: no such file (24 of 24 are missing); "
            "expected is {root}/VOC2007/Annotations, as in PASCAL VOC; clsim downloads nothing; "
            "with dataset.labels: class-files no annotations are needed",
        ),
    ],
    ids=lambda value: "" if isinstance(value, dict | str) else None,
)
def test_what_is_missing_is_named_with_what_to_download(
    devkit: Path, voc: Make, damage: Callable[[Path], None], options: dict[str, Any], text: str
) -> None:
    damage(devkit)
    error = problem(voc(devkit, **options))
    assert error.path == ("dataset", "root")
    assert error.text.startswith(text.format(root=devkit, main=devkit / MAIN))
    assert "clsim downloads nothing" in error.text


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {},
            "VOC2007: no such folder; needed is VOCtrainval_06-Nov-2007.tar from host.robots.ox.ac.uk/",
        ),
        (
            {"train": ["2012 trainval"]},
            "VOC2012: no such folder; needed is VOCtrainval_11-May-2012.tar from host",
        ),
        (
            {"train": ["2010 test"]},
            "VOC2010: no such folder; no public archive holds the labels of 2010 test; ",
        ),
    ],
    ids=str,
)
def test_an_archive_is_named_for_the_twenty_classes_alone(tmp_path: Path, voc: Make, options: Any, text: str) -> None:
    error = problem(voc(tmp_path, class_names="voc", **options))
    assert error.text.startswith(f"{tmp_path}/{text}")
    assert error.text.endswith("/ImageSets/Main exists; clsim downloads nothing")


@pytest.mark.parametrize("given", ["..", "VOC2007"])
def test_a_root_that_is_one_level_off_is_recognised(devkit: Path, voc: Make, given: str) -> None:
    error = problem(voc(devkit.parent if given == ".." else devkit / given))
    assert error.text.endswith(f"no such folder; did you mean dataset.root: {devkit}?")


def test_missing_images_are_no_matter_for_labels_and_found_before_a_run(devkit: Path, voc: Make) -> None:
    remove("VOC2007/JPEGImages/00002[1-9].jpg")(devkit)
    source = voc(devkit)
    assert len(source.labels("train")) == 24
    with pytest.raises(Unplannable) as caught:
        source.check_size(32)
    image = devkit / "VOC2007" / "JPEGImages" / "000021.jpg"
    few = "(4 of 24 images of train are missing)"
    assert caught.value.text.startswith(f"{image}: no such file {few}; expected is {image.parent}, as in PASCAL VOC")
    with pytest.raises(Unplannable, match=r"000025\.jpg: no such file \(5 of 12 images of test are missing"):
        source.images("test", 32)


def test_a_missing_ids_file_is_named(written: Path, tmp_path: Path, voc: Make) -> None:
    error = problem(voc(written, ids=str(tmp_path / "gone.txt")))
    assert error.path == ("dataset", "ids")
    assert error.text.startswith(f"{tmp_path / 'gone.txt'}: no such file")


def test_a_pipe_among_the_annotations_is_missing_and_not_read(devkit: Path, voc: Make) -> None:
    file = devkit / "VOC2007" / "Annotations" / "000001.xml"
    file.unlink()
    os.mkfifo(file)
    assert problem(voc(devkit)).text.startswith(f"{file}: no such file (1 of 24 are missing)")
