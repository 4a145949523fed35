"""Open Images (Kuznetsova et al., IJCV 2020): image-level labels as they are downloaded, one line per image and label.

    ROOT/train-annotations-human-imagelabels.csv      ImageID,Source,LabelName,Confidence; oidv6-train-... and the like
    ROOT/class-descriptions.csv                       LabelName,DisplayName, such as /m/01yrx,Cat
    ROOT/train/000002b66c9c498e.jpg                   or ROOT/images/train/...

A line says that a class is present (1) or, as verified by people, absent (0); of the other classes nothing is known.
Nothing is ever downloaded, and labels need no images.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from clsim.data.class_names import composed
from clsim.data.held_out import ShareOfTraining, split_rows
from clsim.data.image_files import SPLITS, ImageFiles, ImageFilesConfig, nearest_file
from clsim.data.label_cache import Arrays, cached_labels, pack_texts, unpack_texts
from clsim.data.listed_splits import ListedSplitsConfig, SplitName, SplitNames, training_rows
from clsim.data.openimages_names import DESCRIPTIONS, chosen_classes, display_names
from clsim.data.openimages_parser import PARSER_VERSION, Side
from clsim.data.path_options import DATA_PATH
from clsim.data.problems import Problems
from clsim.data.source import Split
from clsim.data.table_form import BadTable
from clsim.data.voc_layout import read_text
from clsim.errors import ClsimError, Unplannable
from clsim.vocabulary import UNKNOWN


class OpenImagesConfig(ListedSplitsConfig, ImageFilesConfig, frozen=True, extra="forbid", strict=True):
    """Options of the data set `openimages`."""

    name: Literal["openimages"] = Field(description="Open Images: its tables of image-level labels, from your disk")
    root: Annotated[str | None, DATA_PATH] = Field(
        None, description="folder with the tables and one folder of images per split; relative to the scenario"
    )
    train: SplitName | SplitNames = Field("train", description="split or splits to train on: train, validation, test")
    test: SplitName | SplitNames | ShareOfTraining = Field(
        "test",
        description="split to test on, several splits, or {share: 0.2} of the training images; a split used for "
        "training and testing needs test_ids",
    )
    labels: Literal["human", "machine", "all"] = Field(
        "human",
        description="tables to read: {split}-annotations-human-imagelabels*.csv, the machine-generated ones, or both",
    )
    threshold: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="lowest confidence at which a machine-generated label is present; below it is unknown",
    )
    unlisted: Literal["unknown", "absent"] = Field(
        "unknown", description="label of a class that no line of the tables names for an image: unknown or absent"
    )
    contradiction: Literal["error", "unknown"] = Field(
        "error", description="label of a class that some lines call present and others absent"
    )
    class_names: Literal["all"] | Annotated[list[str], Field(min_length=1)] = Field(
        "all",
        description="classes to read, by their names in class-descriptions or as /m/01yrx; all: every class in "
        "the tables",
    )
    image_folder: Annotated[str | None, DATA_PATH] = Field(
        None,
        min_length=1,
        description="folder that contains one folder of images per split; default: root, or root/images",
    )
    suffix: str = Field(
        ".jpg", pattern=r"^\.[^./\\]+$", description="suffix of the image files, which the tables do not contain"
    )

    @model_validator(mode="after")
    def _machines_need_a_threshold(self) -> OpenImagesConfig:
        if self.labels != "human" and self.threshold is None:
            text = f"needed with labels: {self.labels}, such as 0.8"
            raise PydanticCustomError("misplaced", "{text}", {"text": text, "below": ("threshold",)})
        return self


class OpenImages(ImageFiles):
    """The data set `openimages` as an `ImageSource`. Rows follow split and image, columns the alphabet of classes.

    DECIDED: an image is there if a line says of a class that is read whether it is present; of the millions of others
    nothing is known.
    """

    Options = OpenImagesConfig

    def __init__(self, config: OpenImagesConfig) -> None:
        super().__init__(config)
        self.config = config

    @property
    def class_names(self) -> tuple[str, ...]:
        """Display names of the classes, alphabetical; the machine name of one that has none."""
        return tuple(unpack_texts(self._parsed["class_names"]))

    def annotations(self, split: Split) -> NDArray[np.int8]:
        """True labels, int8 [N, C]: 1 present, 0 absent, -1 not annotated; read-only.

        Raises:
            Unplannable: a table is not there or cannot be read, or lines contradict each other; with file and line.
        """
        return self._sides[split][1]

    def image_names(self, split: Split) -> list[str]:
        """Open Images' ids, such as 000002b66c9c498e."""
        return [name.rpartition("/")[2] for name in self._sides[split][0]]

    def files(self, split: Split) -> list[Path]:
        """Path of each image, in the order of `labels`; they need not exist."""
        folder, suffix = self.images_folder(), self.config.suffix
        return [folder / f"{name}{suffix}" for name in self._sides[split][0]]

    def images_folder(self) -> Path:
        """The option `image_folder`, or the root or `images` in it, where the folders of the splits are."""
        if self.config.image_folder is not None:
            return Path(os.path.abspath(self.config.image_folder))
        places = (self._root, self._root / "images")
        first = self.config.splits("train")[0]
        return next((place for place in places if os.path.isdir(place / first)), places[0])

    def missing_images(self, split: Split, missing: Sequence[Path], total: int) -> ClsimError:
        """Name the first missing image, and say how many are."""
        few = f"{len(missing)} of {total} images of {split} are missing"
        hint = "dataset.image_folder says where the folders of the splits are; clsim downloads nothing"
        near = nearest_file(missing[0], capitals_only=True)
        return _problem("root", f"{missing[0]}: no such file ({few}){near}; {hint}")

    def training_rows(self) -> NDArray[np.int64] | None:
        """Return the training row of each test image; see `clsim.data.source.SharedSource`."""
        return training_rows(self.config, self.files)

    # --- where things are

    @cached_property
    def _root(self) -> Path:
        if self.config.root is None:
            raise _problem("root", "not set: where your Open Images lie; give --set dataset.root=FOLDER")
        root = Path(os.path.abspath(self.config.root))
        if not os.path.isdir(root):
            raise _problem("root", f"{root}: no such folder")
        return root

    def _tables(self, part: str) -> list[Path]:
        """The tables of a split, by name."""
        kind = "*" if self.config.labels == "all" else self.config.labels
        pattern = f"*{part}-annotations-{kind}-imagelabels*.csv"
        if not (found := sorted(self._root.glob(pattern))):
            hint = "needed are the image-level labels of storage.googleapis.com/openimages; clsim downloads nothing"
            raise _problem("root", f"{self._root / pattern}: no such file; {hint}")
        return found

    @cached_property
    def _parts(self) -> list[str]:
        """The splits that are trained or tested on, each once."""
        return list(dict.fromkeys(part for split in SPLITS for part in self.config.splits(split)))

    # --- labels

    @cached_property
    def _sides(self) -> dict[Split, tuple[list[str], NDArray[np.int8]]]:
        train = self._joined("train")
        if isinstance(self.config.test, ShareOfTraining):
            sides: dict[Split, tuple[list[str], NDArray[np.int8]]] = {}
            for split, rows in zip(SPLITS, split_rows(train[1], self.config.test), strict=True):
                labels = train[1][rows]
                labels.flags.writeable = False
                sides[split] = [train[0][row] for row in rows.tolist()], labels
            return sides
        return {"train": train, "test": self._joined("test")}

    def _joined(self, split: Split) -> tuple[list[str], NDArray[np.int8]]:
        """Return the images of all splits of one side."""
        parts = self.config.splits(split)
        ids = [unpack_texts(self._parsed[f"images {part}"]) for part in parts]
        labels = [self._parsed[f"labels {part}"] for part in parts]
        whole = labels[0] if len(labels) == 1 else np.concatenate(labels)
        whole.flags.writeable = False
        return [f"{part}/{name}" for part, names in zip(parts, ids, strict=True) for name in names], whole

    @cached_property
    def _parsed(self) -> Arrays:
        tables = {part: self._tables(part) for part in self._parts}
        described = sorted(self._root.glob(DESCRIPTIONS))
        options = self.config.model_dump_json(exclude=ImageFilesConfig.model_fields.keys() | {"image_folder", "suffix"})
        files = [*described, *(file for found in tables.values() for file in found)]
        try:
            return cached_labels(("openimages", PARSER_VERSION, options), files, lambda: self._parse(tables, described))
        except OSError as error:
            raise _problem("root", f"{error.filename}: cannot be read: {error.strerror}") from None

    def _parse(self, tables: dict[str, list[Path]], described: list[Path]) -> Arrays:
        config, problems = self.config, Problems()
        try:
            display = display_names((path, read_text(path, "root")) for path in described)
        except BadTable as error:
            raise _problem("root", str(error)) from None
        chosen = None if isinstance(config.class_names, str) else config.class_names
        wanted = None if chosen is None else chosen_classes(chosen, display, self._root, problems, "")
        problems.refuse("class_names")
        sides = {part: Side(wanted, config.threshold) for part in tables}
        for part, files in tables.items():
            for file in files:
                sides[part].read(file, "root")
        found = wanted or {name for side in sides.values() for name in side.column_of}
        named = sorted((composed(display.get(name, name)), name) for name in found)
        arrays: Arrays = {"class_names": pack_texts([name for name, _ in named])}
        for (part, side), (other, earlier) in combinations(reversed(sides.items()), 2):
            if both := side.row_of.keys() & earlier.row_of.keys():
                raise _problem("root", f"{part} shares {len(both)} images with {other}, the first is {min(both)!r}")
        unlisted = 0 if config.unlisted == "absent" else UNKNOWN
        for part in list(sides):
            side = sides.pop(part)
            images, labels = side.matrix([name for _, name in named], unlisted, config.contradiction, "root")
            if not images:
                raise _problem("root", f"{tables[part][0]}: no line about a class that is read")
            arrays |= {f"images {part}": pack_texts(images), f"labels {part}": labels}
        return arrays


def _problem(key: str, text: str) -> Unplannable:
    return Unplannable(("dataset", key), text)
