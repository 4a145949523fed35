"""Any image source written as a folder of a well-known layout, to be read back by clsim or by other tools.

Training images are numbered from 1 and test images on from there, in the order of the source's rows. What is written
appears whole, by renaming, and never over something that is there.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from clsim.data.image_files import skipped_images
from clsim.data.source import BoxedSource, ImageArray, ImageSource, Split
from clsim.errors import ScenarioError
from clsim.files import part_folder
from clsim.vocabulary import UNKNOWN

FLAGS = {1: " 1", 0: "-1", -1: " 0"}
"""Class files: present, absent, only difficult objects; which is how VOC says that nobody is asked to know."""
CELLS = {1: "1", 0: "0", -1: ""}
VOC_SPLITS: dict[Split, str] = {"train": "trainval", "test": "test"}
COCO_SPLITS: dict[Split, str] = {"train": "train", "test": "val"}


def write_voc(source: ImageSource, folder: Path, size: int, year: int = 2007) -> Path:
    """Write `folder/VOC<year>` in the layout of PASCAL VOC: JPEGImages, Annotations, ImageSets/Main.

    The splits are trainval and test. A label 1 is one object, a label -1 (not annotated) one difficult object; a box
    is the whole image where the source knows none.

    Args:
        source: images and labels; its class names must be usable as file names.
        folder: becomes the VOCdevkit folder; made if it is not there.
        size: side of the images in pixels.

    Returns:
        `folder`, to be given as `dataset.root` together with `dataset.class_names`.

    Raises:
        ScenarioError: the year's folder is there already, or cannot be written; a class name that no file can have.
    """
    if unfit := [name for name in source.class_names if "/" in name or name != name.strip()]:
        raise ScenarioError([f"class {unfit[0]!r}: VOC's files are called after classes; no slash, no space around it"])
    with _new_folder(source, folder / f"VOC{year}", size) as home:
        main = home / "ImageSets" / "Main"
        for path in (home / "JPEGImages", home / "Annotations", main):
            path.mkdir(parents=True)
        for split, first in _first_numbers(source).items():
            labels, boxes = source.labels(split), _boxes(source, split)
            ids = [f"{number:06d}" for number in range(first, first + len(labels))]
            _save_images([home / "JPEGImages" / f"{image}.jpg" for image in ids], source.images(split, size))
            for image, row, places in zip(ids, labels, boxes, strict=True):
                text = _voc_annotation(image, source.class_names, row, places, size, year)
                (home / "Annotations" / f"{image}.xml").write_text(text, encoding="utf-8")
            listed = VOC_SPLITS[split]
            (main / f"{listed}.txt").write_text("".join(f"{image}\n" for image in ids), encoding="utf-8")
            for name, column in zip(source.class_names, labels.T, strict=True):
                lines = [f"{image} {FLAGS[int(label)]}\n" for image, label in zip(ids, column, strict=True)]
                (main / f"{name}_{listed}.txt").write_text("".join(lines), encoding="utf-8")
    return folder


def write_coco(source: ImageSource, folder: Path, size: int, year: int = 2014) -> Path:
    """Write a folder in the layout of COCO: annotations/instances_{split}.json and the splits train<year>, val<year>.

    A label 1 is one annotation with box, area and a rectangle as polygon; a box is the whole image where the source
    knows none. Ids of categories are 1 to C in the source's order.

    Args:
        source: images and labels; every label must be known, because COCO has no place for what is not.
        folder: becomes COCO's folder; an empty one may be there.
        size: side of the images in pixels.

    Returns:
        `folder`, to be given as `dataset.root`.

    Raises:
        ScenarioError: the folder is not empty or cannot be written; there are labels -1.
    """
    if unknown := sum(int((source.labels(split) == UNKNOWN).sum()) for split in COCO_SPLITS):
        raise ScenarioError([f"{unknown} labels are unknown, which COCO's annotations cannot say; write a manifest"])
    categories = [
        {"supercategory": "thing", "id": number, "name": name}
        for number, name in enumerate(source.class_names, start=1)
    ]
    with _new_folder(source, folder, size) as home:
        (home / "annotations").mkdir(parents=True)
        for split, first in _first_numbers(source).items():
            listed = f"{COCO_SPLITS[split]}{year}"
            (home / listed).mkdir()
            images = [_coco_image(number, listed, size) for number in range(first, first + len(source.labels(split)))]
            _save_images([home / listed / image["file_name"] for image in images], source.images(split, size))
            content = {
                "info": {"description": "written by clsim", "version": "1.0", "year": year, "contributor": ""},
                "licenses": [{"id": 1, "name": "unknown", "url": ""}],
                "images": images,
                "annotations": _coco_annotations(source, split, first, size),
                "categories": categories,
            }
            text = json.dumps(content, ensure_ascii=False, allow_nan=False)
            (home / "annotations" / f"instances_{listed}.json").write_text(text, encoding="utf-8")
    return folder


def write_manifest(source: ImageSource, folder: Path, size: int) -> Path:
    """Write `folder/manifest.csv`, with one column for each class, and the images beside it.

    Args:
        source: images and labels; 1, 0 and -1 become 1, 0 and an empty cell.
        folder: an empty one may be there.
        size: side of the images in pixels.

    Returns:
        The table, to be given as `dataset.file` together with `dataset.label_columns: rest`.

    Raises:
        ScenarioError: the folder is not empty or cannot be written; a class is called like another column.
    """
    columns = ("path", "split")
    if taken := [name for name in source.class_names if name in columns]:
        raise ScenarioError([f"class {taken[0]!r}: a manifest has a column of that name already"])
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow([*columns, *source.class_names])
    with _new_folder(source, folder, size) as home:
        for split, first in _first_numbers(source).items():
            labels = source.labels(split)
            (home / "images" / split).mkdir(parents=True)
            names = [f"images/{split}/{number:06d}.jpg" for number in range(first, first + len(labels))]
            _save_images([home / name for name in names], source.images(split, size))
            for name, row in zip(names, labels, strict=True):
                writer.writerow([name, split, *(CELLS[int(label)] for label in row)])
        (home / "manifest.csv").write_text(table.getvalue(), encoding="utf-8")
    return folder / "manifest.csv"


WRITERS = {"voc": write_voc, "coco": write_coco, "manifest": write_manifest}


@contextmanager
def _new_folder(source: ImageSource, target: Path, size: int) -> Iterator[Path]:
    """A folder to write into, which becomes `target` at the end, or nothing."""
    source.check_size(size)
    if bad := [file for files in skipped_images(source).values() for file in files]:
        text = f"{len(bad)} images cannot be decoded, the first is {bad[0]}"
        raise ScenarioError([f"{text}; a data set that is written needs all of its images"])
    target = Path(os.path.abspath(target))  # "." has no name to put a suffix to
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ScenarioError([f"{target}: there already and not empty; name another folder"])
    try:
        with part_folder(target) as part:
            yield part
            os.replace(part, target)
    except OSError as error:
        raise ScenarioError([f"{target}: cannot be written: {error.strerror or error}"]) from None


def _first_numbers(source: ImageSource) -> dict[Split, int]:
    return {"train": 1, "test": 1 + len(source.labels("train"))}


def _save_images(paths: list[Path], images: ImageArray) -> None:
    from PIL import Image

    for row, path in enumerate(paths):
        # Full chroma: most of what tells an 8-pixel digit by its ink is colour.
        picture = Image.fromarray(np.ascontiguousarray(images[row].transpose(1, 2, 0)))
        picture.save(path, "JPEG", quality=95, subsampling=0)


def _boxes(source: ImageSource, split: Split) -> NDArray[np.float64]:
    """Left, top, width and height of every class in every image, in 0..1, float64 [N, C, 4]."""
    whole = np.array([0.0, 0.0, 1.0, 1.0])
    known = (
        source.boxes(split) if isinstance(source, BoxedSource) else np.full((*source.labels(split).shape, 4), np.nan)
    )
    return np.where(np.isnan(known), whole, known)


def _voc_annotation(
    image: str, names: tuple[str, ...], labels: NDArray[np.int8], boxes: NDArray[np.float64], size: int, year: int
) -> str:
    lines = [
        "<annotation>",
        f"\t<folder>VOC{year}</folder>",
        f"\t<filename>{image}.jpg</filename>",
        f"\t<size><width>{size}</width><height>{size}</height><depth>3</depth></size>",
        "\t<segmented>0</segmented>",
    ]
    for column in np.flatnonzero(labels):
        left, top, width, height = boxes[column]
        sides = {  # pixels are counted from 1, and the last one is inside
            "xmin": math.floor(left * size) + 1,
            "ymin": math.floor(top * size) + 1,
            "xmax": math.ceil((left + width) * size),
            "ymax": math.ceil((top + height) * size),
        }
        box = "".join(f"<{side}>{pixel}</{side}>" for side, pixel in sides.items())
        lines.append(
            f"\t<object><name>{escape(names[column])}</name><pose>Unspecified</pose><truncated>0</truncated>"
            f"<difficult>{int(labels[column] < 0)}</difficult><bndbox>{box}</bndbox></object>"
        )
    return "\n".join([*lines, "</annotation>"]) + "\n"


def _coco_image(number: int, split: str, size: int) -> dict[str, Any]:
    file = f"COCO_{split}_{number:012d}.jpg" if split.endswith("2014") else f"{number:012d}.jpg"
    return {"license": 1, "file_name": file, "height": size, "width": size, "id": number, "date_captured": ""}


def _coco_annotations(source: ImageSource, split: Split, first: int, size: int) -> list[dict[str, Any]]:
    boxes = _boxes(source, split) * size
    annotations = []
    for row, column in zip(*np.nonzero(source.labels(split) == 1), strict=True):
        left, top, width, height = (round(float(side), 2) for side in boxes[row, column])
        right, bottom = round(left + width, 2), round(top + height, 2)
        annotations.append(
            {
                "id": len(source.class_names) * (first + int(row)) + int(column),  # of no other split
                "image_id": first + int(row),
                "category_id": int(column) + 1,
                "bbox": [left, top, width, height],
                "area": round(width * height, 4),
                "segmentation": [[left, top, right, top, right, bottom, left, bottom]],
                "iscrowd": 0,
            }
        )
    return annotations
