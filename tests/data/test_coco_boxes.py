"""Areas of boxes in COCO files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from clsim.data.coco import Coco, CocoConfig
from tests.fixtures.coco_folders import TEST, TRAIN, content


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "annotations").mkdir()
    for split, images in (("train2014", TRAIN), ("val2014", TEST)):
        whole = content(images, split)
        for annotation in whole["annotations"]:
            annotation["bbox"] = [0, 0, 1 + annotation["id"] % 100, annotation["category_id"] / 10]
        whole["annotations"][-1]["bbox"] = None
        (tmp_path / f"annotations/instances_{split}.json").write_text(json.dumps(whole))
    return tmp_path


def test_the_largest_box_counts_and_crowds_do_not(folder: Path) -> None:
    source = Coco(CocoConfig(name="coco", root=str(folder)))
    assert source.class_names == ("airplane", "dog", "person", "toothbrush")
    assert source.image_ids("train").tolist() == [4, 9, 11]
    nan = np.nan
    expected = np.array([[nan, nan, nan, 9], [nan, 2 * 1.8, 3 * 0.1, nan], [nan, nan, nan, nan]]) / 64
    for _ in range(2):  # the second time from the cache
        np.testing.assert_allclose(source.box_areas("train"), expected.astype(np.float32))


def test_a_chosen_part_keeps_its_rows(folder: Path) -> None:
    (folder / "ids.txt").write_text("9\n")
    source = Coco(CocoConfig(name="coco", root=str(folder), ids=str(folder / "ids.txt")))
    np.testing.assert_allclose(source.box_areas("train")[0, 1:3] * 64, [3.6, 0.3], rtol=1e-6)
