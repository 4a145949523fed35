"""Any image source written as a folder of a well-known layout, to be read back by clsim or by other tools."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

from clsim.data.source import ImageSource, Split
from clsim.errors import ScenarioError

FLAGS = {1: " 1", 0: "-1", -1: " 0"}
"""Class files: present, absent, only difficult objects; which is how VOC says that nobody is asked to know."""
SPLIT_NAMES: dict[Split, str] = {"train": "trainval", "test": "test"}


def write_voc(source: ImageSource, folder: Path, size: int, year: int = 2007) -> Path:
    """Write `folder/VOC<year>` in the layout of PASCAL VOC: JPEGImages, Annotations, ImageSets/Main.

    The training images become the split trainval, numbered from 000001, and the test images the split test, numbered
    on. A label 1 is one object, a label -1 (not annotated) one difficult object; boxes are the whole image, because a
    source knows none. The year's folder appears whole, by renaming.

    Args:
        source: images and labels; its class names must be usable as file names.
        folder: becomes the VOCdevkit folder; made if it is not there.
        size: side of the images in pixels.

    Returns:
        `folder`, to be given as `dataset.root` together with `dataset.class_names`.

    Raises:
        ScenarioError: the year's folder is there already, or cannot be written.
    """
    target = folder / f"VOC{year}"
    if target.exists():
        raise ScenarioError([f"{target}: there already; name another folder"])
    source.check_size(size)
    part = folder / f".VOC{year}.{os.getpid()}.part"
    try:
        _write(source, part, size, year)
        os.replace(part, target)
    except OSError as error:
        raise ScenarioError([f"{target}: cannot be written: {error.strerror or error}"]) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def _write(source: ImageSource, home: Path, size: int, year: int) -> None:
    from PIL import Image

    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (home / name).mkdir(parents=True)
    names, first = source.class_names, 1
    for split, split_name in SPLIT_NAMES.items():
        labels, images = source.labels(split), source.images(split, size)
        ids = [f"{number:06d}" for number in range(first, first + len(labels))]
        first += len(labels)
        for image, row, pixels in zip(ids, labels, images, strict=True):
            # Full chroma: most of what tells an 8-pixel digit by its ink is colour.
            picture = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
            picture.save(home / "JPEGImages" / f"{image}.jpg", quality=95, subsampling=0)
            objects = [(name, int(label)) for name, label in zip(names, row, strict=True) if label != 0]
            text = _annotation(image, objects, size, year)
            (home / "Annotations" / f"{image}.xml").write_text(text, encoding="utf-8")
        main = home / "ImageSets" / "Main"
        (main / f"{split_name}.txt").write_text("".join(f"{image}\n" for image in ids), encoding="utf-8")
        for column, name in enumerate(names):
            lines = [f"{image} {FLAGS[int(label)]}\n" for image, label in zip(ids, labels[:, column], strict=True)]
            (main / f"{name}_{split_name}.txt").write_text("".join(lines), encoding="utf-8")


def _annotation(image: str, objects: list[tuple[str, int]], size: int, year: int) -> str:
    box = f"<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>{size}</xmax><ymax>{size}</ymax></bndbox>"
    lines = [
        "<annotation>",
        f"\t<folder>VOC{year}</folder>",
        f"\t<filename>{image}.jpg</filename>",
        f"\t<size><width>{size}</width><height>{size}</height><depth>3</depth></size>",
        "\t<segmented>0</segmented>",
        *(
            f"\t<object><name>{escape(name)}</name><pose>Unspecified</pose><truncated>0</truncated>"
            f"<difficult>{int(label < 0)}</difficult>{box}</object>"
            for name, label in objects
        ),
        "</annotation>",
    ]
    return "\n".join(lines) + "\n"
