"""Areas of boxes in VOC annotations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clsim.data.digits import Digits
from clsim.data.voc_boxes import read_box_areas
from clsim.errors import Unplannable

SIZE = "<size><width>20</width><height>10</height></size>"


def annotation(path: Path, *objects: tuple[str, str], size: str = SIZE) -> str:
    body = "".join(
        f"<object><name>{name}</name><bndbox>"
        + "".join(
            f"<{key}>{value}</{key}>" for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box.split(), strict=True)
        )
        + "</bndbox></object>"
        for name, box in objects
    )
    path.write_text(f"<annotation>{size}{body}</annotation>")
    return str(path)


def test_the_largest_box_of_a_class_counts_as_a_share_of_the_image(tmp_path: Path) -> None:
    files = [
        annotation(
            tmp_path / "a.xml", ("cat", "1 1 2 2"), ("cat", "1 1 10 10"), ("dog", "5 5 5 5"), ("owl", "1 1 9 9")
        ),
        annotation(tmp_path / "b.xml", ("dog", "1 1 40 40"), ("cat", "1 1 x 9")),
        annotation(tmp_path / "c.xml", size=""),
    ]
    nan = np.nan
    expected = np.array([[0.5, 1 / 200], [nan, 1], [nan, nan]], dtype=np.float32)
    np.testing.assert_array_equal(read_box_areas(files, ["cat", "dog"]), expected)


def test_an_image_without_a_size_and_a_missing_file_are_told(tmp_path: Path) -> None:
    files = [annotation(tmp_path / "a.xml", ("cat", "1 1 2 2"), size=""), str(tmp_path / "b.xml")]
    with pytest.raises(Unplannable) as caught:
        read_box_areas(files, ["cat"])
    assert "a.xml: has no <size> with width and height" in caught.value.text
    assert "b.xml: cannot be read: No such file" in caught.value.text


def test_a_folder_gives_the_boxes_of_its_images_in_their_order(written: Path, scenes: Digits, voc: Any) -> None:
    present = scenes.labels("train") == 1
    for _ in range(2):  # the second time from the cache
        found = voc(written).box_areas("train")
        np.testing.assert_allclose(found[present], scenes.box_areas("train")[present], rtol=0.25)  # of whole pixels
    part = voc(written, test={"share": 0.5})
    rows = [voc(written).image_names("train").index(name) for name in part.image_names("test")]
    np.testing.assert_array_equal(part.box_areas("test"), found[rows])
