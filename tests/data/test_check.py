"""What `clsim data check` finds: labels, files, sizes, and what is missing or broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clsim.data.check import MOST_SHOWN, check_source, first_problem
from clsim.data.digits import Digits
from clsim.data.voc import Voc
from clsim.errors import Unplannable

Make = Callable[..., Voc]


def image(devkit: Path, number: int) -> Path:
    return devkit / "VOC2007" / "JPEGImages" / f"{number:06d}.jpg"


def test_a_whole_folder(written: Path, scenes: Digits, voc: Make) -> None:
    source = voc(written, difficult="ignore")
    checks = check_source(source)
    assert [check.split for check in checks] == ["train", "test"]
    for check, n in zip(checks, (24, 12), strict=True):
        labels = scenes.labels(check.split)
        assert (check.images, check.files, check.missing, check.unreadable) == (n, n, (), ())
        np.testing.assert_array_equal(check.positives, (labels == 1).sum(axis=0))
        np.testing.assert_array_equal(check.not_annotated, (labels == -1).sum(axis=0))
        assert check.sizes.tolist() == [[32, 32]] * n
        assert check.bytes == sum(path.stat().st_size for path in source.files(check.split))
    assert first_problem(source, checks) is None
    summary = json.loads(json.dumps(checks[0].summary(source.class_names)))
    assert summary["classes"]["3"]["positive"] == int((scenes.labels("train")[:, 3] == 1).sum())
    assert (summary["width"], summary["height"], summary["decoded"]) == ([32, 32], [32, 32], 24)


def test_without_decoding_only_presence_is_told(devkit: Path, voc: Make) -> None:
    image(devkit, 3).write_bytes(b"broken")
    image(devkit, 30).unlink()
    train, test = check_source(voc(devkit), decode=False)
    assert (train.missing, train.unreadable, len(train.sizes)) == ((), (), 0)
    assert test.missing == (image(devkit, 30),)
    assert train.summary(list("0123456789"))["width"] is None


def test_missing_and_unreadable_images_are_all_named(devkit: Path, voc: Make) -> None:
    content = image(devkit, 2).read_bytes()
    image(devkit, 2).write_bytes(content[: len(content) // 2])
    image(devkit, 30).write_text("no image")
    source = voc(devkit)
    checks = check_source(source)
    assert [len(check.sizes) for check in checks] == [23, 11]
    problem = first_problem(source, checks)
    assert str(problem).splitlines()[0].startswith(f"{image(devkit, 2)}: cannot be decoded as an image: ")
    assert str(problem).splitlines()[1].startswith(f"{image(devkit, 30)}: cannot be decoded as an image: ")
    image(devkit, 7).unlink()
    checks = check_source(source)
    problem = first_problem(source, checks)
    assert isinstance(problem, Unplannable)
    assert problem.text.startswith(f"{image(devkit, 7)}: no such file (1 of 24 images of train are missing); expected")


def test_a_folder_of_broken_images_is_not_listed_without_end(devkit: Path, voc: Make) -> None:
    for number in range(1, 25):
        image(devkit, number).write_bytes(b"")
    source = voc(devkit)
    lines = str(first_problem(source, check_source(source))).splitlines()
    assert len(lines) == MOST_SHOWN + 1
    assert lines[-1] == f"and {24 - MOST_SHOWN} more images"


def test_images_made_in_memory_have_no_files(scenes: Digits) -> None:
    checks = check_source(scenes)
    assert [(check.images, check.files, len(check.sizes)) for check in checks] == [(24, 0, 0), (12, 0, 0)]
    assert first_problem(scenes, checks) is None


@pytest.mark.parametrize("damage", ["labels", "root"])
def test_labels_that_cannot_be_read_are_an_error(devkit: Path, voc: Make, damage: str) -> None:
    if damage == "labels":
        (devkit / "VOC2007" / "Annotations" / "000001.xml").write_text("<annotation>")
    with pytest.raises(Unplannable, match=r"not valid XML" if damage == "labels" else "not set"):
        check_source(voc(devkit if damage == "labels" else None))


def test_images_that_are_left_out_are_told_and_are_no_error(devkit: Path, voc: Make) -> None:
    image(devkit, 2).write_bytes(b"")
    image(devkit, 30).write_text("no image")
    source = voc(devkit, on_bad_image="skip")
    checks = check_source(source)
    assert first_problem(source, checks) is None
    for check, number in zip(checks, (2, 30), strict=True):
        labels = source.labels(check.split)
        assert check.unreadable == ()
        (told,) = check.skipped
        assert told.startswith(f"{image(devkit, number)}: cannot be decoded as an image: ")
        np.testing.assert_array_equal(check.positives, (labels == 1).sum(axis=0))
        np.testing.assert_array_equal(check.not_annotated, (labels == -1).sum(axis=0))
        assert check.summary(source.class_names)["skipped"] == [told]


def test_elements_of_annotations_that_are_ignored_are_counted(devkit: Path, voc: Make) -> None:
    file = devkit / "VOC2007" / "Annotations" / "000001.xml"
    part = "<object><name>3</name><part><name>head</name></part></object>"
    file.write_text(file.read_text().replace("</annotation>", f"<verified/>{part}</annotation>"))
    train, test = check_source(voc(devkit), decode=False)
    assert (train.ignored, test.ignored) == ({"verified": 1, "part": 1}, {})
    assert train.summary(list("0123456789"))["ignored"] == {"verified": 1, "part": 1}


def test_what_skipping_does_not_mend_stays_an_error(devkit: Path, voc: Make) -> None:
    image(devkit, 2).write_bytes(b"")
    image(devkit, 7).unlink()
    source = voc(devkit, on_bad_image="skip")
    assert isinstance(first_problem(source, check_source(source)), Unplannable)
    image(devkit, 7).write_bytes(b"")
    for number in range(25, 37):
        image(devkit, number).write_bytes(b"")
    problem = first_problem(source, check_source(source))
    assert str(problem).startswith(f"none of the 12 images of test can be decoded, the first is {image(devkit, 25)}")
