"""How large the objects of PASCAL VOC's annotation files are."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clsim.data.class_names import composed
from clsim.data.problems import Problems
from clsim.data.voc_annotations import objects_in, root_of, tag_of
from clsim.errors import Unplannable

READER_VERSION = 1
"""Part of the identity of cached areas."""


def read_box_areas(files: Sequence[str], class_names: Sequence[str]) -> NDArray[np.float32]:
    """Return the area of the largest box of each class / that of the image, float32 [N, C]; NaN: no box.

    Difficult objects count, because an annotator sees them too.

    Args:
        files: annotation of each of the N images.

    Raises:
        Unplannable: files are missing or malformed, or do not say the size of the image; all are counted.
    """
    columns = {name: column for column, name in enumerate(class_names)}
    areas = np.full((len(files), len(class_names)), np.nan, dtype=np.float32)
    problems = Problems()
    for row, file in enumerate(files):
        try:
            root, _ = root_of(file)
        except Unplannable as error:
            problems.add("", error.text)
            continue
        whole = math.prod(_numbers(root, "size", ("width", "height")))
        for element in objects_in(root):
            names = [composed((child.text or "").strip()) for child in element if tag_of(child) == "name"]
            left, top, right, bottom = _numbers(element, "bndbox", ("xmin", "ymin", "xmax", "ymax"))
            area = max(right - left + 1, 0) * max(bottom - top + 1, 0)  # the devkit's boxes hold their last pixel
            if names and names[0] in columns and not math.isnan(area):
                if not whole > 0:
                    problems.add(file, "has no <size> with width and height, of which a box is a share")
                    break
                column = columns[names[0]]
                areas[row, column] = np.fmax(areas[row, column], min(area / whole, 1))
    problems.refuse("root")
    return areas


def _numbers(element: ET.Element, child: str, fields: Sequence[str]) -> list[float]:
    """Return the numbers that a child element holds; NaN for one that is missing or no number."""
    inside = {tag_of(one): one.text or "" for found in element if tag_of(found) == child for one in found}
    return [_number(inside.get(field, "")) for field in fields]


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan
