"""PASCAL VOC 2007 to 2012 in the official layout, or your own folder in it; nothing is downloaded.

    ROOT/VOC2007/ImageSets/Main/trainval.txt              one image id a line
    ROOT/VOC2007/ImageSets/Main/aeroplane_trainval.txt    id and 1 present, -1 absent, 0 only difficult objects
    ROOT/VOC2007/Annotations/000005.xml
    ROOT/VOC2007/JPEGImages/000005.jpg

Labels need either the class files or the annotations, never the images. torchvision's VOC classes are not used: they
import torch, which a plan must not, and read one image at a time.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, field_validator

from clsim.data.cache import missing_files
from clsim.data.class_names import composed
from clsim.data.held_out import ShareOfTraining, split_rows
from clsim.data.image_files import SPLITS, ImageFiles, ImageFilesConfig
from clsim.data.label_cache import cached_labels
from clsim.data.path_options import DATA_PATH
from clsim.data.source import Split
from clsim.data.voc_annotations import READER_VERSION, ignored_elements
from clsim.data.voc_boxes import READER_VERSION as BOXES_VERSION
from clsim.data.voc_boxes import read_box_areas
from clsim.data.voc_labels import Labels, UnknownClasses, parse_annotations, parse_class_files
from clsim.data.voc_layout import (
    FOLDER,
    SPLIT,
    YEAR,
    Listed,
    annotation_files,
    download_advice,
    image_files,
    listed_split,
    problem,
    read_ids,
)
from clsim.errors import Unplannable, did_you_mean

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)

DIFFICULT_MEANS = {"negative": 0, "ignore": -1, "positive": 1}


def _listed(value: str) -> str:
    if not re.fullmatch(rf"({YEAR}|{FOLDER}) {SPLIT}", value):
        raise ValueError(
            "allowed: a year from 2007 to 2012, or the name of another folder below the root, and a split of "
            "ImageSets/Main, such as '2007 trainval' or 'MyData train'"
        )
    return value


ListedSplit = Annotated[str, AfterValidator(_listed)]


class Block(NamedTuple):
    """The images of a listed split."""

    listed: Listed
    images: list[str]  # the ids of the whole split, ascending
    rows: NDArray[np.int64]  # the images in use, ascending


class VocConfig(ImageFilesConfig, frozen=True, extra="forbid", strict=True):
    """Options of the data set `voc`."""

    name: Literal["voc"] = Field(description="PASCAL VOC in its official layout, from your disk")
    root: Annotated[str | None, DATA_PATH] = Field(
        None,
        description="the VOCdevkit folder, which contains VOC2007 or similar folders; relative to the scenario file",
    )
    train: list[ListedSplit] = Field(
        ["2007 trainval"],
        min_length=1,
        description='list of "year split" for the training images, whose images are joined; a folder not named '
        "like VOC2007 by its name: [MyData train]",
    )
    test: Annotated[list[ListedSplit], Field(min_length=1)] | ShareOfTraining = Field(
        ["2007 test"],
        description='list of "year split" for the test images, or {share: 0.2} of the training images',
    )
    labels: Literal["annotations", "class-files"] = Field(
        "annotations", description="files with the labels: Annotations/*.xml, or ImageSets/Main/{class}_{split}.txt"
    )
    difficult: Literal["negative", "ignore", "positive"] = Field(
        "negative",
        description="label of a class if all its objects in the image are difficult: negative: absent (KRT), "
        "ignore: unknown (VOC devkit), or positive: present",
    )
    ids: Annotated[str | None, DATA_PATH] = Field(
        None,
        description="file with one image id per line; only these training images are used; relative to the "
        "scenario file",
    )
    class_names: Literal["voc"] | list[str] = Field(
        "voc",
        description="voc: the twenty classes of VOC; or a list of the class names in your own files, in the order"
        " of columns",
    )

    @field_validator("class_names")
    @classmethod
    def _distinct(cls, value: str | list[str]) -> str | list[str]:
        value = list(map(composed, value)) if isinstance(value, list) else value
        if isinstance(value, list) and (not value or len(set(value)) < len(value)):
            raise ValueError("name at least one class, and none twice")
        if isinstance(value, list) and not all(re.fullmatch(r"[^/\\\s]([^/\\]*[^/\\\s])?", name) for name in value):
            raise ValueError("a class name has no slash and no space around it")
        return value


class Voc(ImageFiles):
    """The data set `voc` as an `ImageSource`. Rows follow the image id within each listed split."""

    Options = VocConfig

    def __init__(self, config: VocConfig) -> None:
        super().__init__(config)
        self.config = config

    @property
    def class_names(self) -> tuple[str, ...]:
        """The twenty classes in alphabetical order, or `class_names` as configured."""
        names = self.config.class_names
        return VOC_CLASSES if isinstance(names, str) else tuple(names)

    def annotations(self, split: Split) -> Labels:
        """True labels, int8 [N, C]: 1 present, 0 absent, -1 only difficult objects (with `difficult: ignore`).

        Raises:
            Unplannable: files are missing, damaged, or contradict each other; with the exact path.
        """
        return self._annotated[split]

    def files(self, split: Split) -> list[Path]:
        """Path of each image, in the order of `labels`; they need not exist."""
        return [
            file
            for block in self._blocks[split]
            for file in image_files(
                self._year_folder(block.listed) / "JPEGImages", [block.images[row] for row in block.rows]
            )
        ]

    def image_names(self, split: Split) -> list[str]:
        """VOC's ids, such as 2008_000023."""
        return [block.images[row] for block in self._blocks[split] for row in block.rows]

    def box_areas(self, split: Split) -> NDArray[np.float32]:
        """Areas of the largest boxes, float32 [N, C]; see `clsim.data.source.AreaSource`; reads every file again."""
        blocks = [self._areas(block.listed, block.images)[block.rows] for block in self._blocks[split]]
        return np.concatenate(blocks)

    def _areas(self, listed: Listed, images: list[str]) -> NDArray[np.float32]:
        """Areas of a whole listed split, through the label cache."""
        folder, names = f"{self._year_folder(listed)}/Annotations", self.class_names
        files = annotation_files(folder, images)
        identity = ("voc boxes", BOXES_VERSION, folder, listed.split, names)
        try:
            arrays = cached_labels(identity, files, lambda: {"areas": read_box_areas(files, names)})
        except OSError as error:
            raise problem("root", f"{error.filename}: no such file; labels.visible.smallest_box needs boxes") from None
        areas: NDArray[np.float32] = arrays["areas"]
        return areas

    def ignored(self, split: Split) -> Counter[str]:
        """Count the elements of the annotations that say nothing to clsim, by tag; reads every file again."""
        if self.config.labels == "class-files":
            return Counter()
        files = [
            file
            for block in self._blocks[split]
            for file in annotation_files(
                f"{self._year_folder(block.listed)}/Annotations", [block.images[row] for row in block.rows]
            )
        ]
        return sum(map(ignored_elements, files), Counter())

    def images_folder(self) -> Path:
        """The VOCdevkit folder."""
        return self._root

    def missing_images(self, split: Split, missing: Sequence[Path], total: int) -> Unplannable:
        """Names the first missing image, how many are, and what to download."""
        (listed,) = {b.listed for b in self._blocks[split] if self._year_folder(b.listed) == missing[0].parents[1]}
        few = f"{len(missing)} of {total} images of {split} are missing"
        return problem("root", f"{missing[0]}: no such file ({few}); {self._advice(self._root, listed, 'JPEGImages')}")

    # --- where things are

    @property
    def _own(self) -> bool:
        """Whether the classes are listed by the user, so that no public archive has their labels."""
        return not isinstance(self.config.class_names, str)

    def _advice(self, root: Path, listed: Listed, folder: str = "ImageSets/Main") -> str:
        return download_advice(root, listed, self._own, folder)

    @cached_property
    def _root(self) -> Path:
        if self.config.root is None:
            raise problem("root", "not set: where your VOCdevkit lies; give --set dataset.root=FOLDER")
        root = Path(self.config.root)
        for listed in map(listed_split, dict.fromkeys(self.config.train + self._test)):
            self._check_layout(root, listed)
        return root

    def _year_folder(self, listed: Listed) -> Path:
        return self._root / listed.folder

    def _main_folder(self, listed: Listed) -> Path:
        return self._year_folder(listed) / "ImageSets" / "Main"

    def _check_layout(self, root: Path, listed: Listed) -> None:
        """Say what is missing and what to download, and see a root that is one level off."""
        year = listed.folder
        main = root / year / "ImageSets" / "Main"
        if os.path.isfile(main / f"{listed.split}.txt"):
            return
        if os.path.isdir(main):
            splits = sorted(path.stem for path in main.glob("*.txt") if not self._is_class_file(path.stem))
            hint = f"{did_you_mean(listed.split, splits)}; splits there: {', '.join(splits) or 'none'}"
            raise problem("root", f"{main / f'{listed.split}.txt'}: no such file{hint}; {self._advice(root, listed)}")
        for other in (root / "VOCdevkit", root.parent):
            if os.path.isdir(other / year / "ImageSets" / "Main"):
                raise problem("root", f"{main}: no such folder; did you mean dataset.root: {other}?")
        absent = root if not os.path.isdir(root) else root / year if not os.path.isdir(root / year) else main
        raise problem("root", f"{absent}: no such folder; {self._advice(root, listed)}")

    def _is_class_file(self, stem: str) -> bool:
        return any(stem.startswith(f"{name}_") for name in self.class_names)

    # --- image ids

    @cached_property
    def _blocks(self) -> dict[Split, list[Block]]:
        blocks: dict[Split, list[Block]] = {"train": [], "test": []}
        used: list[tuple[str, Listed, list[str]]] = []
        for split, names in (("train", self.config.train), ("test", self._test)):
            for name in names:
                listed = listed_split(name)
                images = read_ids(self._main_folder(listed) / f"{listed.split}.txt", "root")
                # DECIDED: an error, because an image trained and tested on makes every number of the run meaningless.
                for where, other, earlier in used:
                    if other.year == listed.year and (again := set(images).intersection(earlier)):
                        text = f"{name} shares {len(again)} images with {where}, the first is {min(again)}"
                        raise problem(split, text)
                used.append((f"{name} of {split}", listed, images))
                blocks[split].append(Block(listed, images, np.arange(len(images))))  # type: ignore[index]
        chosen = self._blocks_of_ids(blocks["train"])
        if isinstance(self.config.test, ShareOfTraining):
            return self._shared(chosen, self.config.test)
        return {"train": chosen, "test": blocks["test"]}

    @property
    def _test(self) -> list[str]:
        """The listed splits of the test images; none when they are a share of the training images."""
        return [] if isinstance(self.config.test, ShareOfTraining) else self.config.test

    def _shared(self, blocks: list[Block], rule: ShareOfTraining) -> dict[Split, list[Block]]:
        """Some of the training images for testing."""
        sides = split_rows(self._read_labels(blocks), rule)
        bounds = np.cumsum([0, *(len(block.rows) for block in blocks)])
        parts: dict[Split, list[Block]] = {}
        for split, side in zip(SPLITS, sides, strict=True):
            within = [side[(side >= start) & (side < stop)] - start for start, stop in pairwise(bounds.tolist())]
            parts[split] = [b._replace(rows=b.rows[rows]) for b, rows in zip(blocks, within, strict=True)]
        return parts

    def _blocks_of_ids(self, blocks: list[Block]) -> list[Block]:
        """The blocks with the images that `ids` lists."""
        if self.config.ids is None:
            return blocks
        path = Path(self.config.ids)
        if not os.path.isfile(path):
            raise problem("ids", f"{path}: no such file; give --set dataset.ids=FILE, with one image id a line")
        wanted = read_ids(path, "ids")
        known = {image for block in blocks for image in block.images}
        if unknown := [image for image in wanted if image not in known]:
            splits = " + ".join(self.config.train)
            raise problem("ids", f"{path}: {len(unknown)} ids are not in {splits}, the first is {unknown[0]}")
        return [block._replace(rows=np.flatnonzero(np.isin(block.images, wanted))) for block in blocks]

    # --- labels

    @cached_property
    def _annotated(self) -> dict[Split, Labels]:
        annotated: dict[Split, Labels] = {}
        unknown: UnknownClasses | None = None
        for split, blocks in self._blocks.items():
            try:
                annotated[split] = self._read_labels(blocks)
            except UnknownClasses as error:
                unknown = error if unknown is None else unknown.joined(error)
        if unknown is not None:
            raise unknown
        return annotated

    def _read_labels(self, blocks: list[Block]) -> Labels:
        means = np.array([0, 1, DIFFICULT_MEANS[self.config.difficult]], dtype=np.int8)
        labels: Labels = np.concatenate([means[self._parsed(b.listed, b.images)[b.rows]] for b in blocks])
        labels.flags.writeable = False
        return labels

    def _parsed(self, listed: Listed, images: list[str]) -> Labels:
        """The matrix of a whole listed split, int8 [N, C]: ABSENT, PRESENT or DIFFICULT."""
        for files in self._label_files(listed, images):
            with suppress(OSError):  # one of them is not there
                return self._cached(listed, images, files)
        raise self._missing_labels(listed, next(self._label_files(listed, images)))

    def _cached(self, listed: Listed, images: list[str], files: list[str]) -> Labels:
        main, kind, names = self._main_folder(listed), self.config.labels, self.class_names

        def parse() -> Labels:
            if kind == "class-files":
                return parse_class_files(files, images, names)
            return parse_annotations(files, images, names, self._own)

        identity = ("voc", READER_VERSION, str(main), listed.split, kind, names)
        arrays = cached_labels(identity, [f"{main}/{listed.split}.txt", *files], lambda: {"labels": parse()})
        labels: Labels = arrays["labels"]
        return labels

    def _label_files(self, listed: Listed, images: list[str]) -> Iterator[list[str]]:
        """Yield the files that hold the labels: first by the names that VOC gives them, which costs no look."""
        if self.config.labels == "class-files":
            yield [f"{self._main_folder(listed)}/{name}_{listed.split}.txt" for name in self.class_names]
        else:
            folder = f"{self._year_folder(listed)}/Annotations"
            yield [f"{folder}/{image}.xml" for image in images]
            yield annotation_files(folder, images)

    def _missing_labels(self, listed: Listed, files: list[str]) -> Unplannable:
        missing = missing_files(files)
        count = f"{len(missing)} of {len(files)} are missing"
        folder = "ImageSets/Main" if self.config.labels == "class-files" else "Annotations"
        text = f"{missing[0]}: no such file ({count}); {self._advice(self._root, listed, folder)}"
        if self.config.labels == "annotations" and len(missing) == len(files):
            first = self._main_folder(listed) / f"{self.class_names[0]}_{listed.split}.txt"
            text += "; with dataset.labels: class-files no annotations are needed" if os.path.isfile(first) else ""
        return problem("root", text)
