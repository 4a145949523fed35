"""NUS-WIDE in its own layout (Chua et al., CIVR 2009): 269,648 photographs from flickr, 81 concepts.

    ROOT/ImageList/TrainImagelist.txt                             one image a line, such as actor\\0001_2124494179.jpg
    ROOT/Groundtruth/TrainTestLabels/Labels_animal_Train.txt      0 or 1 for each line of the list
    ROOT/Groundtruth/AllLabels/Labels_animal.txt                  likewise, for ImageList/Imagelist.txt
    ROOT/Flickr/actor/0001_2124494179.jpg

Labels need no images, and nothing is ever downloaded. Images without any concept stay: they show none of them.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from clsim.data.class_names import composed
from clsim.data.held_out import ShareOfTraining, split_rows
from clsim.data.image_files import SPLITS, ImageFiles, ImageFilesConfig, nearest_file
from clsim.data.label_cache import Arrays, cached_labels, pack_texts, unpack_texts
from clsim.data.listed_splits import ListedSplitsConfig, training_rows
from clsim.data.nuswide_parser import PARSER_VERSION, read_flags, read_list
from clsim.data.path_options import DATA_PATH
from clsim.data.source import Split
from clsim.errors import ClsimError, Unplannable, did_you_mean

Part = Literal["train", "test", "all"]
"""The authors' training and test images, and all images."""
Parts = Annotated[list[Part], Field(min_length=1)]

IMAGE_FOLDERS = ("Flickr", "images", "image", "Images")
_SITE = "lms.comp.nus.edu.sg/wp-content/uploads/2019/research/nuswide"
_LISTS: dict[str, str] = {"train": "TrainImagelist", "test": "TestImagelist", "all": "Imagelist"}
_ENDINGS: dict[str, str] = {"train": "_Train.txt", "test": "_Test.txt", "all": ".txt"}
_CONCEPT = re.compile(r"Labels_(.+)")


class NusWideConfig(ListedSplitsConfig, ImageFilesConfig, frozen=True, extra="forbid", strict=True):
    """Options of the data set `nuswide`."""

    name: Literal["nuswide"] = Field(description="NUS-WIDE in its own layout, from your disk")
    root: Annotated[str | None, DATA_PATH] = Field(
        None, description="folder with ImageList/ and Groundtruth/; relative to the scenario file"
    )
    train: Part | Parts = Field(
        "train", description="images to train on: train, test, all, or a list of these; all reads Groundtruth/AllLabels"
    )
    test: Part | Parts | ShareOfTraining = Field(
        "test",
        description="images to test on: as for `train`, or {share: 0.2} of the training images; images used for "
        "training and testing need test_ids",
    )
    image_folder: Annotated[str | None, DATA_PATH] = Field(
        None,
        min_length=1,
        description=f"folder in which the paths of ImageList start; default: {', '.join(IMAGE_FOLDERS)} below root",
    )

    def shared_splits(self) -> list[str]:
        """Return the parts that are trained on and tested on."""
        sides = self.splits("train"), self.splits("test")
        return ["all"] if all(sides) and "all" in sides[0] + sides[1] else super().shared_splits()


class Images(NamedTuple):
    """Images of one side, in the order of their lists."""

    names: list[str]  # paths below the folder of the images
    labels: NDArray[np.int8]  # [N, C], 1 present, 0 absent

    def of(self, rows: NDArray[np.int64]) -> Images:
        """Those of some rows, int64 [n]."""
        labels = np.ascontiguousarray(self.labels[rows])
        labels.flags.writeable = False
        return Images([self.names[row] for row in rows.tolist()], labels)


class NusWide(ImageFiles):
    """The data set `nuswide` as an `ImageSource`. Rows follow the lists of images, columns the alphabet of concepts."""

    Options = NusWideConfig

    def __init__(self, config: NusWideConfig) -> None:
        super().__init__(config)
        self.config = config

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Names of the concepts, alphabetical; NUS-WIDE has 81."""
        return tuple(self._concepts)

    def annotations(self, split: Split) -> NDArray[np.int8]:
        """True labels, int8 [N, C], 1 present, 0 absent; read-only.

        Raises:
            Unplannable: files are missing, damaged, or of other lengths; with the exact path.
        """
        return self._images_of[split].labels

    def image_names(self, split: Split) -> list[str]:
        """The path of each image in the list, with slashes, such as actor/0001_2124494179.jpg."""
        return self._images_of[split].names

    def files(self, split: Split) -> list[Path]:
        """Path of each image, in the order of `labels`; they need not exist."""
        folder = self.images_folder()
        return [folder / name for name in self._images_of[split].names]

    def images_folder(self) -> Path:
        """The option `image_folder`, or the folder of images below the root."""
        if self.config.image_folder is not None:
            return Path(os.path.abspath(self.config.image_folder))
        places = [self._root / name for name in IMAGE_FOLDERS]
        return next((place for place in places if os.path.isdir(place)), places[0])

    def missing_images(self, split: Split, missing: Sequence[Path], total: int) -> ClsimError:
        """Name the first missing image, and say how many are."""
        few = f"{len(missing)} of {total} images of {split} are missing"
        hint = "dataset.image_folder says where the paths of ImageList start; clsim downloads nothing"
        return _problem(f"{missing[0]}: no such file ({few}){nearest_file(missing[0], capitals_only=True)}; {hint}")

    def training_rows(self) -> NDArray[np.int64] | None:
        """Return the training row of each test image; see `clsim.data.source.SharedSource`."""
        return training_rows(self.config, self.files)

    # --- where things are

    @cached_property
    def _root(self) -> Path:
        if self.config.root is None:
            raise _problem("not set: where your NUS-WIDE lies; give --set dataset.root=FOLDER")
        root = Path(os.path.abspath(self.config.root))
        if not os.path.isdir(root):
            raise _problem(f"{root}: no such folder")
        return root

    def _list_file(self, part: str) -> str:
        file = self._root / "ImageList" / f"{_LISTS[part]}.txt"
        if not os.path.isfile(file):
            raise _problem(f"{file}: no such file{nearest_file(file)}; {_download('ImageList')}")
        return str(file)

    def _label_folder(self, kind: str) -> Path | None:
        """The folder TrainTestLabels or AllLabels, in Groundtruth or beside it; None: it is not there."""
        places = (self._root / "Groundtruth" / kind, self._root / kind)
        return next((place for place in places if os.path.isdir(place)), None)

    def _labels_of(self, part: str) -> tuple[str, Path]:
        """Return of which part the files of labels are that hold those of `part`, and their folder.

        Without TrainTestLabels those of all images serve, by the names in the lists.
        """
        for found, kind in ((part, "AllLabels" if part == "all" else "TrainTestLabels"), ("all", "AllLabels")):
            if folder := self._label_folder(kind):
                return found, folder
        kind = "AllLabels" if part == "all" else "TrainTestLabels"
        raise _problem(f"{self._root / 'Groundtruth' / kind}: no such folder; {_download('Groundtruth')}")

    @cached_property
    def _parts(self) -> list[str]:
        """The parts that are trained or tested on, each once."""
        return list(dict.fromkeys(part for split in SPLITS for part in self.config.splits(split)))

    @cached_property
    def _concepts(self) -> dict[str, str]:
        """Name of each class -> concept in the names of its files; alphabetical.

        Raises:
            Unplannable: no files of labels, or a concept lacks some.
        """
        there: dict[tuple[Path, str], set[str]] = {}
        for found, folder in map(self._labels_of, self._parts):
            end = _ENDINGS[found]
            stems = [name.removesuffix(end) for name in os.listdir(folder) if name.endswith(end)]
            there[folder, end] = {match[1] for stem in stems if (match := _CONCEPT.fullmatch(stem))}
        concepts = {name for names in there.values() for name in names}
        for (folder, end), names in there.items():
            if not concepts:
                raise _problem(f"{folder}: no files Labels_<concept>{end}; {_download('Groundtruth')}")
            if lacking := sorted(concepts - names):
                text = f"no such file ({len(lacking)} of {len(concepts)} concepts lack theirs)"
                raise _problem(f"{folder}/Labels_{lacking[0]}{end}: {text}{did_you_mean(lacking[0], names)}")
        return dict(sorted((composed(name), name) for name in concepts))

    # --- labels

    @cached_property
    def _images_of(self) -> dict[Split, Images]:
        train = self._joined("train")
        if isinstance(self.config.test, ShareOfTraining):
            rows = split_rows(train.labels, self.config.test)
            return {split: train.of(chosen) for split, chosen in zip(SPLITS, rows, strict=True)}
        return {"train": train, "test": self._joined("test")}

    def _joined(self, split: Split) -> Images:
        """Return the images of all parts of one side.

        Raises:
            Unplannable: an image is in two of them.
        """
        parts = self.config.splits(split)
        found = [self._read(part) for part in parts]
        names = [name for images in found for name in images.names]
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            text = f"{len(twice)} images are in two of {', '.join(parts)}, the first is {twice[0]!r}"
            raise Unplannable(("dataset", split), text)
        labels = found[0].labels if len(found) == 1 else np.concatenate([images.labels for images in found])
        labels.flags.writeable = False
        return Images(names, labels)

    def _read(self, part: str) -> Images:
        """Return the images of a part, through the label cache."""
        source, folder = self._labels_of(part)
        files = [f"{folder}/Labels_{concept}{_ENDINGS[source]}" for concept in self._concepts.values()]
        lists = list(dict.fromkeys([self._list_file(part), self._list_file(source)]))

        def parse() -> Arrays:
            names = read_list(lists[0])
            whole = names if len(lists) == 1 else read_list(lists[1])
            labels = read_flags(files, len(whole), lists[-1])
            if len(lists) > 1:
                labels = labels[_rows_of(names, whole, lists)]
            return {"names": pack_texts(names), "labels": labels}

        try:
            arrays = cached_labels(("nuswide", PARSER_VERSION, part, str(folder)), [*lists, *files], parse)
        except OSError as error:
            raise _problem(f"{error.filename}: cannot be read: {error.strerror}") from None
        return Images(unpack_texts(arrays["names"]), arrays["labels"])


def _rows_of(names: list[str], whole: list[str], lists: list[str]) -> NDArray[np.int64]:
    """Return the rows of some images in the list of all, int64 [n]."""
    row = {name: number for number, name in enumerate(whole)}
    if unknown := [name for name in names if name not in row]:
        text = f"{lists[0]}: {len(unknown)} images are not in {lists[1]}, the first is {unknown[0]!r}"
        raise _problem(text)
    return np.array([row[name] for name in names], dtype=np.int64)


def _download(archive: str) -> str:
    return f"needed is {archive}.zip from {_SITE}, unpacked into the root; clsim downloads nothing"


def _problem(text: str) -> Unplannable:
    return Unplannable(("dataset", "root"), text)
