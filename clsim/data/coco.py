"""COCO 2014 and 2017, every folder laid out like them, and single annotation files (Lin et al., ECCV 2014; https://cocodataset.org).

Labels come from `annotations/instances_{split}.json` through pycocotools: a class is present in an image when at
least one annotation that is no crowd region says so. Images without a label are left out, as in the published
multi-label protocols. Images are not needed for labels, and nothing is ever downloaded.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from clsim.data.coco_boxes import READER_VERSION as BOXES_VERSION
from clsim.data.coco_boxes import read_box_areas
from clsim.data.coco_forms import annotation_file, folder_of_files, folder_of_split
from clsim.data.coco_labels import CocoLabels, joined
from clsim.data.coco_parser import read_annotations, rows_of_ids
from clsim.data.held_out import ShareOfTraining, split_rows
from clsim.data.image_files import SPLITS, ImageFiles, ImageFilesConfig, nearest_file
from clsim.data.label_cache import cached_labels
from clsim.data.listed_splits import ListedSplitsConfig, SplitName, SplitNames, training_rows
from clsim.data.path_options import DATA_PATH
from clsim.data.source import Split
from clsim.errors import ClsimError, Unplannable, did_you_mean

_DOWNLOADS = "http://images.cocodataset.org"
_OFFICIAL_SPLITS = ("train2014", "val2014", "train2017", "val2017")


class CocoConfig(ListedSplitsConfig, ImageFilesConfig, frozen=True, extra="forbid", strict=True):
    """Options of the data set `coco`."""

    name: Literal["coco"] = Field(description="COCO 2014 or 2017, or a folder with the same layout; you download it")
    root: Annotated[str | None, DATA_PATH] = Field(
        None, description="folder with annotations/, train2014/, val2014/ ...; relative to the scenario file"
    )
    train: SplitName | SplitNames = Field(
        "train2014",
        description="split to train on: annotations/instances_{split}.json and the folder of its images; or "
        "several splits, such as [train2014, val2014]",
    )
    test: SplitName | SplitNames | ShareOfTraining = Field(
        "val2014",
        description="split to test on, several splits, or {share: 0.2} of the training images; a split used for "
        "training and testing needs test_ids",
    )
    train_file: Annotated[str | None, DATA_PATH] = Field(
        None,
        min_length=1,
        description="annotation file of the training images, in place of a split; relative to the scenario",
    )
    test_file: Annotated[str | None, DATA_PATH] = Field(
        None,
        min_length=1,
        description="annotation file of the test images, in place of a split; relative to the scenario",
    )
    image_folder: Annotated[str | None, DATA_PATH] = Field(
        None,
        min_length=1,
        description="folder of the images that train_file and test_file name; default: the folder of the file",
    )
    ids: Annotated[str | None, DATA_PATH] = Field(
        None,
        description="file with one image id per line; only these training images are used (COCO-MLT); relative to"
        " the scenario",
    )

    @model_validator(mode="after")
    def _two_splits(self) -> CocoConfig:
        files, shares = self.train_file, isinstance(self.test, ShareOfTraining)
        fields = type(self).model_fields
        by_name = [key for key in ("root", "train", "test") if getattr(self, key) != fields[key].default]
        if files is None and (
            alone := [key for key in ("test_file", "image_folder") if getattr(self, key) is not None]
        ):
            raise _misplaced(alone[0], "only with train_file")
        if files is not None and (both := [key for key in by_name if key != "test" or not shares]):
            raise _misplaced(both[0], "not together with train_file")
        if files is not None and shares == (self.test_file is not None):
            raise _misplaced("train_file", "needs either test_file or a share for test, such as {share: 0.2}")
        return self

    def shared_splits(self) -> list[str]:
        """Return the names of the splits that are trained on and tested on."""
        return super().shared_splits() if self.train_file is None else []


def _misplaced(key: str, text: str) -> PydanticCustomError:
    return PydanticCustomError("misplaced", "{text}", {"text": text, "below": (key,)})


class Listed(NamedTuple):
    """A split: the option that names it, what it is called, its annotation file and the folder of its images."""

    key: str
    name: str
    file: Path
    folder: Path


class Coco(ImageFiles):
    """The data set `coco` as an `ImageSource`. Rows follow image ids, columns the alphabet of class names."""

    Options = CocoConfig

    def __init__(self, config: CocoConfig) -> None:
        super().__init__(config)
        self.config = config
        self._whole: dict[Path, CocoLabels] = {}

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the categories, alphabetical; COCO has 80."""
        return self._train.class_names

    def annotations(self, split: Split) -> NDArray[np.int8]:
        """True labels, int8 [N, C], 1 present, 0 absent; read-only.

        Raises:
            Unplannable: an annotation file is not there or not what pycocotools reads, or an id is unknown.
        """
        return self._labels_of(split).labels

    def image_ids(self, split: Split) -> NDArray[np.int64]:
        """COCO's ids of the images, int64 [N], ascending; read-only."""
        return self._labels_of(split).ids

    def image_names(self, split: Split) -> list[str]:
        """COCO's ids as text."""
        return [str(image) for image in self.image_ids(split).tolist()]

    def box_areas(self, split: Split) -> NDArray[np.float32]:
        """Areas of the largest boxes, float32 [N, C]; see `clsim.data.source.AreaSource`; reads the file again."""
        of_files = [self._areas_of(listed) for listed in self._listed(split)]
        ids = np.concatenate([self._read(listed).ids for listed in self._listed(split)])
        order = np.argsort(ids, kind="stable")
        areas: NDArray[np.float32] = np.concatenate(of_files)[order[np.searchsorted(ids[order], self.image_ids(split))]]
        return areas

    def _areas_of(self, listed: Listed) -> NDArray[np.float32]:
        ids = self._read(listed).ids.tolist()
        identity = ("coco boxes", BOXES_VERSION, str(listed.file), self.class_names)
        arrays = cached_labels(
            identity, [listed.file], lambda: {"areas": read_box_areas(listed.file, ids, self.class_names)}
        )
        return arrays["areas"]

    def files(self, split: Split) -> list[Path]:
        """Path of each image, in the order of `labels`; they need not exist."""
        names, listed = self._labels_of(split).files, self._listed(split)
        if len(listed) > 1:
            return list(map(Path, names))
        folder = folder_of_files(listed[0].folder, names)
        return [folder / file for file in names]

    def images_folder(self) -> Path:
        """COCO's folder, or that of the training images of `train_file`."""
        return self._root if self.config.train_file is None else self._listed("train")[0].folder

    def missing_images(self, split: Split, missing: Sequence[Path], total: int) -> ClsimError:
        """Names the first missing image, how many are, and what to download."""
        listed = next((one for one in self._listed(split) if one.folder in missing[0].parents), self._listed(split)[0])
        few = f"{len(missing)} of {total} images of {split} are missing"
        if self.config.train_file is None:
            hint = _download(listed.name, f"zips/{listed.name}.zip", self._root)
        else:
            hint = f"; {listed.file} names it; dataset.image_folder says where its images are"
        near = nearest_file(missing[0], capitals_only=True)
        return Unplannable(("dataset", listed.key), f"{missing[0]}: no such file ({few}){near}{hint}")

    @cached_property
    def _root(self) -> Path:
        if self.config.root is None:
            raise Unplannable(("dataset", "root"), "not set: where your COCO lies; give --set dataset.root=FOLDER")
        return Path(self.config.root)

    def _listed(self, split: Split) -> list[Listed]:
        """The splits that images of `split` are from: of a share those of the training images."""
        config = self.config
        side: Split = "train" if isinstance(config.test, ShareOfTraining) else split
        if config.train_file is None:
            root = self._root
            return [
                Listed("root", name, annotation_file(root, name), folder_of_split(root, name))
                for name in config.splits(side)
            ]
        key = f"{side}_file"
        file = Path(os.path.abspath(getattr(config, key)))
        folder = file.parent if config.image_folder is None else Path(os.path.abspath(config.image_folder))
        return [Listed(key, file.name, file, folder)]

    def _labels_of(self, split: Split) -> CocoLabels:
        if isinstance(self.config.test, ShareOfTraining):
            return self._shared[split]
        return self._train if split == "train" else self._test

    def notes(self) -> list[str]:
        """Return which categories were left out although nothing named them; see `clsim.data.source.NotingSource`."""
        left_out = ", ".join(sorted(self._left_out))
        return [f"super-categories and background that no image shows, left out: {left_out}"] if left_out else []

    def training_rows(self) -> NDArray[np.int64] | None:
        """Return the training row of each test image; see `clsim.data.source.SharedSource`."""
        return training_rows(self.config, self.files)

    @cached_property
    def _left_out(self) -> frozenset[str]:
        """Names that are no classes and that no image of either split shows."""
        first, *others = [one for split in SPLITS for one in self._listed(split)]
        idle = frozenset(self._read(first).idle)
        for other in others if idle else ():
            labels = self._read(other)
            idle = idle.difference(labels.class_names) | idle.intersection(labels.unused())
        return idle

    @cached_property
    def _train(self) -> CocoLabels:
        listed = self._listed("train")
        whole = self._joined("train", self._read(listed[0]).without(self._left_out))
        if self.config.ids is None:
            return whole
        return whole.of(rows_of_ids(Path(self.config.ids), whole.ids, " + ".join(one.name for one in listed)))

    @cached_property
    def _test(self) -> CocoLabels:
        return self._joined("test", self._train)

    def _joined(self, split: Split, first: CocoLabels) -> CocoLabels:
        """Return the labels of all listed splits of `split`, by ascending image id.

        Args:
            first: whose classes all of them must have.

        Raises:
            Unplannable: a split has other classes, or an image is in two of them.
        """
        listed = self._listed(split)
        parts = [self._with_classes_of(first, one, split) for one in listed]
        if len(parts) == 1:
            return parts[0]
        for place, (one, part) in enumerate(zip(listed, parts, strict=True)):
            folder = folder_of_files(one.folder, part.files)
            parts[place] = part._replace(files=[os.path.join(folder, name) for name in part.files])
            for other, earlier in zip(listed[:place], parts[:place], strict=True):
                # DECIDED: an error, because lists of ids could not tell the two apart
                if len(both := np.intersect1d(part.ids, earlier.ids)):
                    text = f"{one.name} shares {len(both)} image ids with {other.name}, the first is {both[0]}"
                    raise Unplannable(("dataset", split), text)
        return joined(parts)

    def _with_classes_of(self, first: CocoLabels, listed: Listed, split: Split) -> CocoLabels:
        """Return the labels of a listed split in the columns of `first`."""
        whole, expected = self._read(listed), first.class_names
        unused = {*self._left_out, *(name for labels in (first, whole) for name in labels.unused())}
        labels = whole.with_columns(expected, unused)
        if labels.class_names != expected:
            lacking = [name for name in expected if name not in labels.class_names]
            extra = [f"{name!r}{did_you_mean(name, lacking)}" for name in labels.class_names if name not in expected]
            text = (
                f"{listed.file}: other categories than {self._listed('train')[0].file.name}: "
                f"missing {', '.join(map(repr, lacking)) or 'none'}; not there {', '.join(extra) or 'none'}"
            )
            raise Unplannable(("dataset", split if listed.key == "root" else listed.key), text)
        return labels

    @cached_property
    def _shared(self) -> dict[Split, CocoLabels]:
        assert isinstance(self.config.test, ShareOfTraining)
        sides = split_rows(self._train.labels, self.config.test)
        return {split: self._train.of(rows) for split, rows in zip(SPLITS, sides, strict=True)}

    def _read(self, listed: Listed) -> CocoLabels:
        """Return the labels of an annotation file, read once."""
        if listed.file not in self._whole:
            self._whole[listed.file] = self._checked(listed)
        return self._whole[listed.file]

    def _checked(self, listed: Listed) -> CocoLabels:
        if not os.path.isfile(listed.file):
            if listed.key == "root":
                raise Unplannable(("dataset", "root"), _no_annotations(self._root, listed.name))
            raise Unplannable(("dataset", listed.key), f"{listed.file}: no such file")
        try:
            labels = read_annotations(listed.file)
        except Unplannable as error:
            raise Unplannable(("dataset", listed.key), error.text) from None
        if outside := [name for name in labels.files if _leaves(listed.folder, name)]:
            text = f"{listed.file}: file_name {outside[0]!r} ({len(outside)} like it) leaves {listed.folder}"
            advice = "dataset.image_folder names a folder that holds all images, / for absolute names"
            raise Unplannable(("dataset", listed.key), f"{text}; {advice}")
        return labels


def _leaves(folder: Path, name: str) -> bool:
    """Whether the file of a name does not lie below a folder."""
    if ".." not in name and not os.path.isabs(name):
        return False
    home = os.path.abspath(folder)
    return os.path.commonpath([home, os.path.normpath(os.path.join(home, name))]) != home


def _no_annotations(root: Path, split: str) -> str:
    file = annotation_file(root, split)
    year = split[-4:]
    found = file.parent.glob("instances_*.json") if os.path.isdir(file.parent) else ()
    there = sorted(path.stem.removeprefix("instances_") for path in found)
    for other in (root / "coco", root.parent):
        if os.path.isfile(annotation_file(other, split)):
            return f"{file}: no such file; did you mean dataset.root: {other}?"
    hint = _download(split, f"annotations/annotations_trainval{year}.zip", root)
    if there:
        hint = f"; splits there: {', '.join(there)}{did_you_mean(split, there)}{hint}"
    return f"{file}: no such file{hint}"


def _download(split: str, archive: str, root: Path) -> str:
    if split not in _OFFICIAL_SPLITS:
        return ""
    return f"; download {_DOWNLOADS}/{archive} and unpack it into {root}; clsim downloads nothing"
