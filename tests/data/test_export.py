"""Writing a source as a folder: the layouts others read, and labels that come back as they were.

That a VOC folder reads back is tested with the reader.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clsim.data.coco import Coco, CocoConfig
from clsim.data.digits import Digits, DigitsConfig, draw_scenes
from clsim.data.export import WRITERS, write_coco, write_manifest, write_voc
from clsim.data.manifest import Manifest
from clsim.data.manifest_config import ManifestConfig
from clsim.data.source import ImageSource
from clsim.errors import ScenarioError

SIZE = 32


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits(DigitsConfig(name="digits", train=24, test=12, categories=20))


@pytest.fixture(scope="module")
def coco_folder(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """COCO's layout of the scenes, to be read only."""
    return write_coco(digits, tmp_path_factory.mktemp("written") / "coco", SIZE)


def loaded(folder: Path, split: str) -> Any:
    """A split in pycocotools."""
    from pycocotools.coco import COCO

    return COCO(str(folder / "annotations" / f"instances_{split}.json"))


def assert_same_data(found: ImageSource, expected: ImageSource) -> None:
    """Equal labels, column by column name, and images that differ by no more than JPEG does."""
    columns = [expected.class_names.index(name) for name in found.class_names]
    assert len(columns) == len(expected.class_names)
    for split in ("train", "test"):
        np.testing.assert_array_equal(found.labels(split), expected.labels(split)[:, columns], strict=True)
        difference = np.abs(found.images(split, SIZE).astype(int) - expected.images(split, SIZE))
        assert difference.mean() < 4
        assert difference.mean(axis=(1, 2, 3)).max() < 8


def test_the_layout_is_that_of_the_devkit(written: Path) -> None:
    home = written / "VOC2007"
    assert sorted(path.name for path in home.iterdir()) == ["Annotations", "ImageSets", "JPEGImages"]
    main = home / "ImageSets" / "Main"
    assert (main / "trainval.txt").read_text().split()[:2] == ["000001", "000002"]
    assert (main / "test.txt").read_text().split()[0] == "000025"
    assert len(list(main.iterdir())) == 2 * 11
    with Image.open(home / "JPEGImages" / "000036.jpg") as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (32, 32), "RGB")


def test_an_annotation_names_its_image_and_boxes_inside_it(written: Path) -> None:
    root = ET.parse(written / "VOC2007" / "Annotations" / "000003.xml").getroot()
    assert root.findtext("filename") == "000003.jpg"
    assert (root.findtext("size/width"), root.findtext("size/depth")) == ("32", "3")
    boxes = [[int(side.text or 0) for side in box] for box in root.iterfind("object/bndbox")]
    assert boxes
    assert all(1 <= left < right <= 32 and 1 <= top < bottom <= 32 for left, top, right, bottom in boxes)


def test_a_folder_that_is_there_is_left_alone(devkit: Path, scenes: Digits) -> None:
    with pytest.raises(ScenarioError, match=r"VOC2007: there already and not empty; name another folder"):
        write_voc(scenes, devkit, 32)
    assert write_voc(scenes, devkit, 28, year=2012) == devkit
    assert sorted(path.name for path in devkit.iterdir()) == ["VOC2007", "VOC2012"]


def test_an_impossible_size_or_place_leaves_nothing(scenes: Digits, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="image size 8"):
        write_voc(scenes, tmp_path / "a", 8)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(ScenarioError, match="cannot be written"):
        write_voc(scenes, tmp_path / "file", 32)


# --- VOC


def test_boxes_of_digits_are_where_they_were_drawn(digits: Digits, tmp_path: Path) -> None:
    scenes = draw_scenes(digits.config, "test")
    home = write_voc(digits, tmp_path, 40) / "VOC2007"
    for row, (classes, places) in enumerate(zip(scenes.classes, scenes.boxes, strict=True)):
        root = ET.parse(home / "Annotations" / f"{25 + row:06d}.xml").getroot()
        found = {
            item.findtext("name"): [int(side.text or 0) for side in item.iterfind("bndbox/*")]
            for item in root.iterfind("object")
        }
        assert sorted(found) == sorted(digits.class_names[column] for column in classes if column >= 0)
        for column, (left, top, side) in zip(classes, places, strict=True):
            if column >= 0:
                expected = np.array([left * 40 + 1, top * 40 + 1, (left + side) * 40, (top + side) * 40])
                np.testing.assert_allclose(found[digits.class_names[column]], expected, atol=1)


def test_torchvision_reads_a_voc_folder(written: Path, scenes: Digits) -> None:
    from torchvision.datasets import VOCDetection

    for split, image_set in (("train", "trainval"), ("test", "test")):
        data = VOCDetection(str(written.parent), year="2007", image_set=image_set, download=False)
        assert len(data) == len(scenes.labels(split))
        for (image, target), row in zip(data, scenes.labels(split), strict=True):
            assert image.size == (32, 32)
            objects = target["annotation"]["object"]
            assert {item["name"] for item in objects} == {scenes.class_names[column] for column in np.flatnonzero(row)}


@pytest.mark.parametrize("name", ["a/b", " a"])
def test_class_names_no_file_can_have_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="no slash, no space around it"):
        write_voc(renamed(name), tmp_path / "a", SIZE)
    assert list(tmp_path.iterdir()) == []


def renamed(name: str) -> Digits:
    class Renamed(Digits):
        class_names = (name, *"123456789")

    return Renamed(DigitsConfig(name="digits", train=24, test=12))


# --- COCO


def test_coco_comes_back_as_it_was(coco_folder: Path, digits: Digits) -> None:
    source = Coco(CocoConfig(name="coco", root=str(coco_folder)))
    assert source.class_names == tuple(sorted(digits.class_names))
    assert_same_data(source, digits)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools under NumPy 2
def test_pycocotools_reads_boxes_areas_and_masks(coco_folder: Path, digits: Digits) -> None:
    scenes = draw_scenes(digits.config, "train")
    coco = loaded(coco_folder, "train2014")
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == list(digits.class_names)
    assert len(coco.getImgIds()) == 24
    assert len(coco.getAnnIds()) == int((scenes.classes >= 0).sum())
    for image in coco.loadImgs(coco.getImgIds()):
        row = image["id"] - 1
        with Image.open(coco_folder / "train2014" / image["file_name"]) as file:
            assert (file.format, file.size) == ("JPEG", (image["width"], image["height"]))
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=image["id"])):
            (slot,) = np.flatnonzero(scenes.classes[row] == annotation["category_id"] - 1)
            left, top, side = scenes.boxes[row, slot] * SIZE
            np.testing.assert_allclose(annotation["bbox"], [left, top, side, side], atol=0.01)
            assert annotation["area"] == pytest.approx(side**2, abs=0.5)
            mask = coco.annToMask(annotation)
            assert mask.sum() == pytest.approx(side**2, rel=0.3)
            rows, columns = np.nonzero(mask)
            assert top - 1 <= rows.min() <= rows.max() <= top + side + 1
            assert left - 1 <= columns.min() <= columns.max() <= left + side + 1


def test_ids_of_the_two_splits_do_not_meet(coco_folder: Path) -> None:
    train, test = (loaded(coco_folder, split) for split in ("train2014", "val2014"))
    assert not set(train.getImgIds()) & set(test.getImgIds())
    assert not set(train.getAnnIds()) & set(test.getAnnIds())


def test_torchvision_reads_a_coco_folder(coco_folder: Path, digits: Digits) -> None:
    from torchvision.datasets import CocoDetection

    data = CocoDetection(str(coco_folder / "val2014"), str(coco_folder / "annotations" / "instances_val2014.json"))
    assert len(data) == 12
    for (_, objects), row in zip(data, digits.labels("test"), strict=True):
        assert {annotation["category_id"] - 1 for annotation in objects} == set(np.flatnonzero(row).tolist())


def test_coco_cannot_say_unknown(scenes: Digits, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="labels are unknown, which COCO's annotations cannot say"):
        write_coco(scenes, tmp_path / "coco", SIZE)
    assert list(tmp_path.iterdir()) == []


# --- manifest


def test_a_manifest_comes_back_with_its_unknown_labels(scenes: Digits, tmp_path: Path) -> None:
    table = write_manifest(scenes, tmp_path / "own", SIZE)
    source = Manifest(ManifestConfig(name="manifest", file=str(table), label_columns="rest"))
    assert (scenes.labels("train") == -1).any()
    assert_same_data(source, scenes)


def test_a_class_called_like_a_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="class 'split': a manifest has a column of that name"):
        write_manifest(renamed("split"), tmp_path / "own", SIZE)


# --- never over something


@pytest.mark.parametrize("format", ["coco", "manifest"])
def test_only_an_empty_or_new_folder_is_written(digits: Digits, tmp_path: Path, format: str) -> None:
    for taken in ("folder", "file"):
        target = tmp_path / taken
        target.write_text("") if taken == "file" else (target / "x").mkdir(parents=True)
        with pytest.raises(ScenarioError, match=f"{taken}: there already and not empty"):
            WRITERS[format](digits, target, SIZE)
    (tmp_path / "empty").mkdir()
    WRITERS[format](digits, tmp_path / "empty", SIZE)
    assert any((tmp_path / "empty").iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "folder"]


@pytest.mark.parametrize("format", ["voc", "coco", "manifest"])
def test_equal_sources_give_equal_bytes(digits: Digits, tmp_path: Path, format: str) -> None:
    first, second = (tmp_path / name for name in "ab")
    for folder in (first, second):
        WRITERS[format](digits, folder, SIZE)
    names = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(second) for path in second.rglob("*") if path.is_file())
    assert len(names) > 36
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)
