"""Start-up of a label index: parsed each time, parsed into the cache, and read from the cache."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import side_by_side
from clsim.data.coco import Coco, CocoConfig
from clsim.data.coco_forms import annotation_file
from clsim.data.coco_parser import parse_annotations as parse_coco
from clsim.data.source import ImageSource, Split
from clsim.data.voc import VOC_CLASSES, Voc, VocConfig
from clsim.data.voc_labels import parse_annotations as parse_voc

VOC_IMAGES = {"trainval": 5011, "test": 4952}
VOC_OBJECTS = 3.075
"""Objects an image, difficult ones included, as in VOC 2007: 30,638 in 9,963 images."""
VOC_DIFFICULT = 0.196
COCO_IMAGES = {"train2014": 82_783, "val2014": 40_504}
COCO_OBJECTS = 7.3
"""Annotations an image, as in COCO 2014; here with outlines of six points, a quarter of the real file's bytes."""


def write_voc_annotations(folder: Path) -> None:
    """Annotations of VOC2007's size: 9,963 files and the lists of the two splits."""
    rng = np.random.default_rng(0)
    home = folder / "VOC2007"
    for name in ("Annotations", "ImageSets/Main"):
        (home / name).mkdir(parents=True)
    first = 1
    for split, count in VOC_IMAGES.items():
        images = [f"{number:06d}" for number in range(first, first + count)]
        first += count
        (home / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{image}\n" for image in images))
        for image in images:
            (home / "Annotations" / f"{image}.xml").write_text(_voc_annotation(image, rng))


def _voc_annotation(image: str, rng: np.random.Generator) -> str:
    """The elements of a real file; its objects are as many on average, and as often difficult."""
    objects = [
        f"\t<object>\n\t\t<name>{VOC_CLASSES[rng.integers(20)]}</name>\n\t\t<pose>Unspecified</pose>\n"
        f"\t\t<truncated>1</truncated>\n\t\t<difficult>{int(rng.random() < VOC_DIFFICULT)}</difficult>\n"
        "\t\t<bndbox>\n\t\t\t<xmin>48</xmin>\n\t\t\t<ymin>240</ymin>\n\t\t\t<xmax>195</xmax>\n"
        "\t\t\t<ymax>371</ymax>\n\t\t</bndbox>\n\t</object>\n"
        for _ in range(rng.geometric(1 / VOC_OBJECTS))
    ]
    return (
        f"<annotation>\n\t<folder>VOC2007</folder>\n\t<filename>{image}.jpg</filename>\n\t<source>\n"
        "\t\t<database>The VOC2007 Database</database>\n\t\t<annotation>PASCAL VOC2007</annotation>\n"
        f"\t\t<image>flickr</image>\n\t\t<flickrid>{rng.integers(10**8, 10**9)}</flickrid>\n\t</source>\n"
        "\t<owner>\n\t\t<flickrid>a user name</flickrid>\n\t\t<name>A. Photographer</name>\n\t</owner>\n"
        "\t<size>\n\t\t<width>500</width>\n\t\t<height>375</height>\n\t\t<depth>3</depth>\n\t</size>\n"
        f"\t<segmented>0</segmented>\n{''.join(objects)}</annotation>\n"
    )


def write_coco_annotations(folder: Path) -> None:
    """Annotation files of COCO 2014's size: 123,287 images and about 900,000 objects of 80 classes."""
    rng = np.random.default_rng(0)
    categories = [{"id": 3 * k + 1, "name": f"class {k:02d}", "supercategory": "thing"} for k in range(80)]
    outlines = []
    for outline in (640 * rng.random((800, 12))).round(2).tolist():
        entry = {"segmentation": [outline], "area": 702.1, "iscrowd": 0, "bbox": outline[:4]}
        outlines.append(json.dumps(entry)[1:-1])
    (folder / "annotations").mkdir()
    number = 1
    for split, count in COCO_IMAGES.items():
        ids = np.cumsum(rng.integers(1, 12, count))
        images = [
            {"id": image, "file_name": f"COCO_{split}_{image:012d}.jpg", "width": 640, "height": 480, "license": 3}
            for image in ids.tolist()
        ]
        owners = rng.choice(ids, int(COCO_OBJECTS * count)).tolist()
        kinds = rng.integers(len(outlines), size=len(owners)).tolist()
        annotations = (
            f'{{{outlines[kind]}, "image_id": {image}, "category_id": {3 * (kind % 80) + 1}, "id": {number + n}}}'
            for n, (image, kind) in enumerate(zip(owners, kinds, strict=True))
        )
        with annotation_file(folder, split).open("w", encoding="utf-8") as file:
            head = json.dumps({"info": {}, "categories": categories, "images": images})
            file.write(f'{head[:-1]}, "annotations": [{", ".join(annotations)}]}}')
        number += len(owners)


def _parse_voc(folder: Path) -> None:
    for split in VOC_IMAGES:
        home = folder / "VOC2007"
        images = (home / "ImageSets" / "Main" / f"{split}.txt").read_text().split()
        parse_voc([f"{home}/Annotations/{image}.xml" for image in images], images, VOC_CLASSES)


def _parse_coco(folder: Path) -> None:
    for split in COCO_IMAGES:
        parse_coco(annotation_file(folder, split))


def _voc(folder: Path) -> ImageSource:
    return Voc(VocConfig(name="voc", root=str(folder), train=["2007 trainval"], test=["2007 test"]))


def _coco(folder: Path) -> ImageSource:
    return Coco(CocoConfig(name="coco", root=str(folder)))


def _start(source: Callable[[Path], ImageSource], folder: Path) -> None:
    fresh = source(folder)
    splits: tuple[Split, Split] = ("train", "test")
    for split in splits:
        fresh.labels(split)


def measure() -> list[tuple[str, ...]]:
    """Rows (data set, images, seconds to parse, to start cold and warm, ratio of parsing to warm)."""
    rows: list[tuple[str, ...]] = []
    ways: dict[str, tuple[Any, ...]] = {
        "VOC 2007": (write_voc_annotations, _parse_voc, _voc, sum(VOC_IMAGES.values()), 9),
        "COCO 2014": (write_coco_annotations, _parse_coco, _coco, sum(COCO_IMAGES.values()), 1),
    }
    for name, (write, parse, source, images, rounds) in ways.items():
        with tempfile.TemporaryDirectory() as folder:
            os.environ["CLSIM_CACHE"] = f"{folder}/cache"
            home = Path(folder)
            write(home)
            start = partial(_start, source, home)
            began = time.process_time()
            start()
            cold = time.process_time() - began
            # CPU time: of the wall's, on a shared machine, little says how long the work takes
            times = side_by_side({"warm": start, "parse": partial(parse, home)}, rounds, time.process_time)
            parsing, warm = times["parse"], times["warm"]
            figures = f"{parsing.seconds:.2f}", f"{cold:.2f}", f"{warm.seconds:.3f}", f"{parsing.ratio:.0f}"
            rows.append((name, f"{images:,}", *figures))
    return rows
