"""PASCAL VOC: labels from both kinds of files, what difficult means, which images, options, real files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from clsim.data import voc as voc_module
from clsim.data.digits import Digits
from clsim.data.image_cache import decode
from clsim.data.voc import VOC_CLASSES, Voc, VocConfig
from clsim.errors import ClsimError, ScenarioError, Unplannable
from tests.data.test_voc_annotations import write_annotation
from tests.fixtures.voc_folders import MAIN, Make, problem

SHARED = Path(__file__).parents[3] / "shared" / "data"
LABEL_FILES = SHARED / "voc2007-labels" / "VOCdevkit"
MINI = SHARED / "voc-mini" / "VOCdevkit"
MLT = SHARED / "voc-mlt"
needs_label_files = pytest.mark.skipif(not LABEL_FILES.is_dir(), reason="no ../shared/data/voc2007-labels")
needs_mini = pytest.mark.skipif(not MINI.is_dir(), reason="no ../shared/data/voc-mini")
needs_mlt = pytest.mark.skipif(not MLT.is_dir(), reason="no ../shared/data/voc-mlt")


# --- labels


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("labels", ["annotations", "class-files"])
def test_labels_are_those_that_were_written(written: Path, scenes: Digits, voc: Make, labels: str, split: Any) -> None:
    source = voc(written, labels=labels, difficult="ignore")
    read = source.labels(split)
    np.testing.assert_array_equal(read, scenes.labels(split))
    assert set(np.unique(read)) == {-1, 0, 1}
    assert read.dtype == np.int8
    assert not read.flags.writeable
    assert source.class_names == scenes.class_names


@pytest.mark.parametrize("labels", ["annotations", "class-files"])
@pytest.mark.parametrize(("difficult", "value"), [("negative", 0), ("ignore", -1), ("positive", 1)])
def test_difficult_only_means_what_is_asked(
    written: Path, scenes: Digits, voc: Make, labels: str, difficult: str, value: int
) -> None:
    truth = scenes.labels("train")
    read = voc(written, labels=labels, difficult=difficult).labels("train")
    np.testing.assert_array_equal(read, np.where(truth == -1, value, truth))


def test_labels_need_no_images_no_torch_and_no_pillow(written: Path) -> None:
    program = f"""
import sys
from clsim.data.voc import Voc, VocConfig
source = Voc(VocConfig(name="voc", root={str(written)!r}, class_names=list("0123456789")))
print(source.labels("train").sum(), sorted({{"torch", "torchvision", "PIL", "sklearn"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    total, _, heavy = done.stdout.strip().partition(" ")
    assert int(total) > 0
    assert heavy == "[]"


@pytest.mark.parametrize(("labels", "folder"), [("annotations", "ImageSets/Main/0_"), ("class-files", "Annotations")])
def test_the_other_kind_of_label_files_is_not_needed(devkit: Path, voc: Make, labels: str, folder: str) -> None:
    for path in (devkit / "VOC2007").rglob("*"):
        if str(path.relative_to(devkit / "VOC2007")).startswith((folder, "JPEGImages")) and path.is_file():
            path.unlink()
    assert len(voc(devkit, labels=labels).labels("train")) == 24


# --- which images


def test_rows_follow_the_ids_whatever_the_order_of_the_lines(devkit: Path, written: Path, voc: Make) -> None:
    for name in ("trainval.txt", "3_trainval.txt"):
        path = devkit / MAIN / name
        path.write_text("".join(sorted(path.read_text().splitlines(keepends=True), reverse=True)) + "\n")
    for labels in ("annotations", "class-files"):
        shuffled = voc(devkit, labels=labels)
        np.testing.assert_array_equal(shuffled.labels("train"), voc(written, labels=labels).labels("train"))
        assert [path.stem for path in shuffled.files("train")] == [f"{n:06d}" for n in range(1, 25)]


def test_ids_restrict_the_training_images_alone(written: Path, tmp_path: Path, voc: Make) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("000020\n000003\n\n000004\n")
    every, few = voc(written), voc(written, ids=str(ids))
    np.testing.assert_array_equal(few.labels("train"), every.labels("train")[[2, 3, 19]])
    assert [path.stem for path in few.files("train")] == ["000003", "000004", "000020"]
    np.testing.assert_array_equal(few.labels("test"), every.labels("test"))
    np.testing.assert_array_equal(few.images("train", 16), every.images("train", 16)[[2, 3, 19]])


@pytest.mark.parametrize("labels", ["annotations", "class-files"])
def test_several_splits_are_joined_in_their_order(devkit: Path, written: Path, voc: Make, labels: str) -> None:
    (devkit / "VOC2007").rename(devkit / "VOC2012")
    (devkit / "VOC2007").symlink_to(written / "VOC2007")
    both = voc(devkit, train=["2012 test", "2007 trainval"], test=["2007 test"], labels=labels)
    alone = voc(written, labels=labels)
    expected = np.concatenate([alone.labels("test"), alone.labels("train")])
    np.testing.assert_array_equal(both.labels("train"), expected)
    assert both.files("train")[0] == devkit / "VOC2012" / "JPEGImages" / "000025.jpg"
    assert both.files("train")[12] == devkit / "VOC2007" / "JPEGImages" / "000001.jpg"


@pytest.mark.parametrize("again", [{"test": ["2007 trainval"]}, {"train": ["2007 trainval", "2007 trainval"]}])
def test_an_image_is_used_once(written: Path, voc: Make, again: dict[str, Any]) -> None:
    error = problem(voc(written, **again))
    assert error.path == ("dataset", next(iter(again)))
    assert error.text == "2007 trainval shares 24 images with 2007 trainval of train, the first is 000001"


# --- the cache of labels


@pytest.mark.parametrize("labels", ["annotations", "class-files"])
def test_labels_are_parsed_once(written: Path, voc: Make, labels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = voc(written, labels=labels).labels("train")

    def fail(*arguments: object) -> None:
        raise AssertionError("parsed again")

    monkeypatch.setattr(voc_module, "parse_annotations", fail)
    monkeypatch.setattr(voc_module, "parse_class_files", fail)
    np.testing.assert_array_equal(voc(written, labels=labels).labels("train"), first)
    voc(written, labels=labels, difficult="ignore").labels("train")  # the policy is no matter of the files


@pytest.mark.parametrize("labels", ["annotations", "class-files"])
def test_a_changed_file_is_parsed_again(devkit: Path, voc: Make, labels: str) -> None:
    before = voc(devkit, labels=labels).labels("train").copy()
    row = int(np.flatnonzero(before[:, 0] == 0)[0])
    image = f"{row + 1:06d}"
    if labels == "annotations":
        write_annotation(devkit / "VOC2007" / "Annotations" / f"{image}.xml", ("0", ""))
    else:
        path = devkit / MAIN / "0_trainval.txt"
        path.write_text("".join(f"{image}  1\n" if image in line else line for line in path.open()))
    after = voc(devkit, labels=labels).labels("train")
    assert before[row, 0] == 0
    assert after[row, 0] == 1
    np.testing.assert_array_equal(np.delete(after, row, axis=0), np.delete(before, row, axis=0))


# --- images


@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_images_are_the_files_in_the_order_of_the_labels(written: Path, voc: Make, resize: Any) -> None:
    source = voc(written, resize=resize)
    images = source.images("test", 20)
    assert images.shape == (12, 3, 20, 20)
    for image, file in zip(images, source.files("test"), strict=True):
        np.testing.assert_array_equal(image, decode(file, 20, resize))
    assert source.images("test", 20) is images


def test_written_images_look_like_the_scenes(written: Path, scenes: Digits, voc: Make) -> None:
    difference = voc(written).images("train", 32).astype(int) - scenes.images("train", 32)
    assert np.abs(difference).mean() < 4  # JPEG of quality 95


def test_the_fingerprint_is_that_of_the_image_files(devkit: Path, written: Path, voc: Make) -> None:
    first = voc(devkit).fingerprint()
    assert voc(written).fingerprint() == first, "a copy of the same files elsewhere"
    assert voc(devkit, resize="crop").fingerprint() != first
    image = devkit / "VOC2007" / "JPEGImages" / "000030.jpg"
    image.write_bytes(image.read_bytes() + b"\0")
    assert voc(devkit).fingerprint() != first


# --- options


@pytest.mark.parametrize(
    "options",
    [
        {"train": ["2006 trainval"]},
        {"train": ["2007"]},
        {"train": ["2007 ../x"]},
        {"train": "2007 trainval"},
        {"train": []},
        {"test": ["2007  test"]},
        {"class_names": []},
        {"class_names": ["a", "a"]},
        {"class_names": ["a/b"]},
        {"class_names": [" a"]},
        {"difficult": "drop"},
        {"labels": "xml"},
        {"resize": "pad"},
        {"year": 2007},
    ],
    ids=str,
)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(options))):
        VocConfig(name="voc", **options)


def test_every_option_is_described() -> None:
    assert [name for name, field in VocConfig.model_fields.items() if not field.description] == []


def test_the_twenty_classes_are_alphabetical() -> None:
    assert len(VOC_CLASSES) == 20
    assert list(VOC_CLASSES) == sorted(VOC_CLASSES)


def test_every_error_is_one_the_command_line_prints() -> None:
    assert issubclass(Unplannable, ScenarioError)
    assert issubclass(ScenarioError, ClsimError)


# --- real files


@needs_label_files
def test_the_official_label_files_of_2007() -> None:
    config = VocConfig(name="voc", root=str(LABEL_FILES), labels="class-files", difficult="ignore")
    source = Voc(config)
    train, test = source.labels("train"), source.labels("test")
    assert train.shape == (5011, 20)
    assert test.shape == (4952, 20)
    # Counts of the official tables: with an object that is not difficult, and with any object.
    assert (train == 1).sum(axis=0)[[0, 14]].tolist() == [238, 2008]
    assert (train == 1).any(axis=1).all()
    listed = [np.loadtxt(LABEL_FILES / MAIN / f"{name}_trainval.txt", dtype=int)[:, 1] for name in VOC_CLASSES]
    flags = np.stack(listed, axis=1)
    np.testing.assert_array_equal(train, np.select([flags == 1, flags == 0], [1, -1], 0))


@needs_mini
def test_annotations_and_class_files_of_real_photographs_agree() -> None:
    both = [
        Voc(VocConfig(name="voc", root=str(MINI), train=["2012 trainval"], test=["2012 test"], labels=labels))
        for labels in ("annotations", "class-files")
    ]
    for split, n in (("train", 2742), ("test", 866)):
        first, second = (source.labels(split) for source in both)
        assert first.shape == (n, 20)
        np.testing.assert_array_equal(first, second)
    total = both[0].labels("train").sum(axis=0, dtype=int) + both[0].labels("test").sum(axis=0, dtype=int)
    counts = dict(zip(VOC_CLASSES, total.tolist(), strict=True))
    assert (counts["dog"], counts["cat"], counts["person"], counts["tvmonitor"]) == (1329, 1124, 661, 39)


@needs_mini
def test_real_photographs_are_decoded(tmp_path: Path) -> None:
    ids = tmp_path / "ids.txt"
    listed = (MINI / "VOC2012/ImageSets/Main/trainval.txt").read_text().split()
    ids.write_text("\n".join(listed[:150]))
    config = VocConfig(name="voc", root=str(MINI), train=["2012 trainval"], test=["2012 test"], ids=str(ids))
    images = Voc(config).images("train", 64)
    assert images.shape == (150, 3, 64, 64)
    assert images.std(axis=(1, 2, 3)).min() > 5


@needs_mlt
def test_voc_mlt_counts_any_object(tmp_path: Path) -> None:
    """The published counts of VOC-MLT come out only if difficult objects count as present."""
    rows = [line.split(",") for line in (MLT / "voc2012_trainval_labels.csv").read_text().split()]
    main = tmp_path / "VOC2012" / "ImageSets" / "Main"
    main.mkdir(parents=True)
    images = [row[0] for row in rows[1:]]
    (main / "trainval.txt").write_text("\n".join(images))
    for column, name in enumerate(rows[0][1:], start=1):
        (main / f"{name}_trainval.txt").write_text("".join(f"{row[0]} {row[column]}\n" for row in rows[1:]))
    (main / "test.txt").write_text("2099_000001\n")
    for name in VOC_CLASSES:
        (main / f"{name}_test.txt").write_text("2099_000001 1\n")
    options: dict[str, Any] = {"train": ["2012 trainval"], "test": ["2012 test"], "labels": "class-files"}
    options |= {"root": str(tmp_path), "ids": str(MLT / "train_ids.txt")}
    source = Voc(VocConfig(name="voc", difficult="positive", **options))
    assert source.labels("train").shape == (1142, 20)
    published = [6, 34, 8, 14, 154, 17, 249, 29, 479, 4, 240, 48, 11, 20, 775, 100, 5, 82, 7, 64]
    assert source.labels("train").sum(axis=0, dtype=int).tolist() == published
    negative = Voc(VocConfig(name="voc", difficult="negative", **options)).labels("train").sum(axis=0, dtype=int)
    assert negative.tolist() != published
