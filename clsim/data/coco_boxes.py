"""How large the objects of an annotation file in COCO's format are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clsim.data.class_names import composed
from clsim.data.coco_forms import CROWD, tidied
from clsim.data.coco_parser import read_json

READER_VERSION = 1
"""Part of the identity of cached areas."""


def read_box_areas(file: Path, ids: Sequence[int], class_names: Sequence[str]) -> NDArray[np.float32]:
    """Return the area of the largest box of each class / that of the image, float32 [N, C]; NaN: no box or size.

    Crowds do not count, as they make no label.

    Args:
        file: whose labels have been read without a problem before.
        ids: of the N images.
    """
    content = tidied(read_json(file))
    column = {name: position for position, name in enumerate(class_names)}
    column_of = {one["id"]: column.get(composed(one["name"])) for one in content["categories"]}
    row_of = {image: row for row, image in enumerate(ids)}
    whole = {one["id"]: _number(one.get("width")) * _number(one.get("height")) for one in content["images"]}
    areas = np.full((len(row_of), len(class_names)), np.nan, dtype=np.float32)
    for annotation in content["annotations"]:
        row, at = row_of.get(annotation["image_id"]), column_of[annotation["category_id"]]
        box, size = annotation.get("bbox"), whole[annotation["image_id"]]
        if row is None or at is None or CROWD[annotation.get("iscrowd")] or not isinstance(box, list) or len(box) != 4:
            continue
        area = _number(box[2]) * _number(box[3])
        if size > 0 and area >= 0:
            areas[row, at] = np.fmax(areas[row, at], min(area / size, 1))
    return areas


def _number(given: Any) -> float:
    try:
        return float(given) if type(given) in (int, float) else math.nan
    except OverflowError:
        return math.inf
