"""Writing a source as a VOC folder; that it reads back is tested with the reader."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from PIL import Image

from clsim.data.digits import Digits
from clsim.data.export import write_voc
from clsim.errors import ScenarioError


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
    with pytest.raises(ScenarioError, match=r"VOC2007: there already; name another folder"):
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
