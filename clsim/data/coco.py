"""COCO 2014 and 2017, every folder laid out like them, and single annotation files (Lin et al., ECCV 2014; https://cocodataset.org).

Labels come from `annotations/instances_{split}.json` through pycocotools: a class is present in an image when at
least one annotation that is no crowd region says so. Images without a label are left out, as in the published
multi-label protocols. Images are not needed for labels, and nothing is ever downloaded.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from clsim.data.class_names import composed
from clsim.data.coco_forms import annotation_file, folder_of_files, folder_of_split, tidied
from clsim.data.coco_labels import CocoLabels
from clsim.data.held_out import ShareOfTraining, split_rows
from clsim.data.image_files import SPLITS, ImageFiles, ImageFilesConfig
from clsim.data.label_cache import Arrays, cached_labels, pack_texts, unpack_texts
from clsim.data.path_options import DATA_PATH
from clsim.data.source import Split
from clsim.errors import ClsimError, Unplannable, did_you_mean
from clsim.opening import regular

PARSER_VERSION = 2  # of the cached labels

_DOWNLOADS = "http://images.cocodataset.org"
_OFFICIAL_SPLITS = ("train2014", "val2014", "train2017", "val2017")
_SPLIT = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
_MOST_PROBLEMS = 10


class CocoConfig(ImageFilesConfig, frozen=True, extra="forbid", strict=True):
    """Options of the data set `coco`."""

    name: Literal["coco"] = Field(description="COCO 2014 or 2017, or a folder in its layout; to be downloaded by you")
    root: Annotated[str | None, DATA_PATH] = Field(
        None, description="folder with annotations/, train2014/, val2014/ ...; relative to the scenario file"
    )
    train: str = Field(
        "train2014",
        pattern=_SPLIT,
        description="split to train on: annotations/instances_{split}.json and the folder of its images",
    )
    test: Annotated[str, Field(pattern=_SPLIT)] | ShareOfTraining = Field(
        "val2014", description="split to test on, or {share: 0.2} of the training images"
    )
    train_file: Annotated[str | None, DATA_PATH] = Field(
        None,
        min_length=1,
        description="annotation file of the training images, instead of a split; relative to the scenario",
    )
    test_file: Annotated[str | None, DATA_PATH] = Field(
        None, min_length=1, description="annotation file of the test images, likewise"
    )
    image_folder: Annotated[str | None, DATA_PATH] = Field(
        None,
        min_length=1,
        description="folder of the images that train_file and test_file name; default: that of the file",
    )
    ids: Annotated[str | None, DATA_PATH] = Field(
        None,
        description="file with one image id a line: only these training images (COCO-MLT); relative to the scenario",
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
        if files is None and self.train == self.test:
            raise _misplaced("test", "allowed: another split than train")
        return self


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

    def files(self, split: Split) -> list[Path]:
        """Path of each image, in the order of `labels`; they need not exist."""
        names = self._labels_of(split).files
        folder = folder_of_files(self._listed(split).folder, names)
        return [folder / file for file in names]

    def images_folder(self) -> Path:
        """COCO's folder, or that of the training images of `train_file`."""
        return self._root if self.config.train_file is None else self._listed("train").folder

    def missing_images(self, split: Split, missing: Sequence[Path], total: int) -> ClsimError:
        """Names the first missing image, how many are, and what to download."""
        listed = self._listed(split)
        few = f"{len(missing)} of {total} images of {split} are missing"
        if self.config.train_file is None:
            hint = _download(listed.name, f"zips/{listed.name}.zip", self._root)
        else:
            hint = f"; {listed.file} names it; dataset.image_folder says where its images are"
        return Unplannable(("dataset", listed.key), f"{missing[0]}: no such file ({few}){hint}")

    @cached_property
    def _root(self) -> Path:
        if self.config.root is None:
            raise _problem("not set: where your COCO lies; give --set dataset.root=FOLDER")
        return Path(self.config.root)

    def _listed(self, split: Split) -> Listed:
        """The split that images of `split` are from: of a share that of the training images."""
        config = self.config
        shares = isinstance(config.test, ShareOfTraining)
        if config.train_file is None:
            name = config.train if split == "train" or isinstance(config.test, ShareOfTraining) else config.test
            return Listed("root", name, annotation_file(self._root, name), folder_of_split(self._root, name))
        key = "train_file" if split == "train" or shares else "test_file"
        file = Path(os.path.abspath(getattr(config, key)))
        folder = file.parent if config.image_folder is None else Path(os.path.abspath(config.image_folder))
        return Listed(key, file.name, file, folder)

    def _labels_of(self, split: Split) -> CocoLabels:
        if isinstance(self.config.test, ShareOfTraining):
            return self._shared[split]
        return self._train if split == "train" else self._test

    @cached_property
    def _train(self) -> CocoLabels:
        listed = self._listed("train")
        whole = self._read(listed)
        if self.config.ids is None:
            return whole
        return whole.of(_rows_of_ids(Path(self.config.ids), whole.ids, listed.name))

    @cached_property
    def _test(self) -> CocoLabels:
        listed = self._listed("test")
        whole, expected = self._read(listed), self.class_names
        unused = {name for labels in (self._train, whole) for name in labels.unused()}
        test = whole.with_columns(expected, unused)
        if test.class_names != expected:
            lacking = [name for name in expected if name not in test.class_names]
            extra = [f"{name!r}{did_you_mean(name, lacking)}" for name in test.class_names if name not in expected]
            text = (
                f"{listed.file}: other categories than {self._listed('train').file.name}: "
                f"missing {', '.join(map(repr, lacking)) or 'none'}; not there {', '.join(extra) or 'none'}"
            )
            raise Unplannable(("dataset", "test" if listed.key == "root" else listed.key), text)
        return test

    @cached_property
    def _shared(self) -> dict[Split, CocoLabels]:
        assert isinstance(self.config.test, ShareOfTraining)
        sides = split_rows(self._train.labels, self.config.test)
        return {split: self._train.of(rows) for split, rows in zip(SPLITS, sides, strict=True)}

    def _read(self, listed: Listed) -> CocoLabels:
        if not os.path.isfile(listed.file):
            if listed.key == "root":
                raise _problem(_no_annotations(self._root, listed.name))
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


def read_annotations(file: Path) -> CocoLabels:
    """Labels of an annotation file that is there, through the label cache.

    Raises:
        Unplannable: it is not an annotation file.
    """
    cached = cached_labels(("coco", PARSER_VERSION, str(file)), [file], lambda: _as_arrays(parse_annotations(file)))
    names, files = (unpack_texts(cached[key]) for key in ("class_names", "files"))
    return CocoLabels(tuple(names), cached["ids"], files, cached["labels"])


def parse_annotations(file: Path) -> CocoLabels:
    """Read an annotation file in COCO's `instances` format.

    Every number of categories is read, under any ids.

    Raises:
        Unplannable: not JSON, not this format, or an annotation of an image or a category the file does not have.
    """
    from pycocotools.coco import COCO  # here, so that a cached plan does not load it

    content = tidied(_read_json(file))
    problems = _format_problems(content)
    if problems:
        raise _problem(*(f"{file}: {problem}" for problem in problems))
    for annotation in content["annotations"]:
        # many exporters leave it out or write it otherwise; pycocotools insists on a number
        annotation["iscrowd"] = _CROWD[annotation.get("iscrowd")]
    coco = COCO()
    coco.dataset = content
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress, where `clsim plan --json` prints JSON
        coco.createIndex()
    for category in coco.cats.values():
        category["name"] = composed(category["name"])
    names = sorted(category["name"] for category in coco.cats.values())
    column = {category: names.index(coco.cats[category]["name"]) for category in coco.cats}
    ids = np.array(sorted(coco.imgs), dtype=np.int64)
    row = {image: position for position, image in enumerate(ids.tolist())}
    labels = np.zeros((len(ids), len(names)), dtype=np.int8)
    for annotation in coco.loadAnns(coco.getAnnIds(iscrowd=False)):
        labels[row[annotation["image_id"]], column[annotation["category_id"]]] = 1
    kept = np.flatnonzero(labels.any(axis=1))
    if not len(kept):
        raise _problem(f"{file}: no image has a label; crowd annotations do not count as one")
    files = [coco.imgs[image]["file_name"] for image in ids[kept].tolist()]
    return CocoLabels(tuple(names), ids[kept], files, labels[kept])


def _as_arrays(labels: CocoLabels) -> Arrays:
    return {
        "class_names": pack_texts(labels.class_names),
        "ids": labels.ids,
        "files": pack_texts(labels.files),
        "labels": labels.labels,
    }


def _read_json(file: Path) -> Any:
    try:
        with open(file, encoding="utf-8-sig", opener=regular) as opened:
            return json.load(opened)
    except OSError as error:
        raise _problem(f"{file}: cannot be read: {error.strerror or error}") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise _problem(f"{file}: not valid JSON at {where}: {error.msg}; is the file complete?") from None
    except (ValueError, RecursionError) as error:  # not UTF-8, a number of thousands of digits, nested too deeply
        raise _problem(f"{file}: not valid JSON: {error}") from None


def _problem(*problems: str) -> Unplannable:
    return Unplannable(("dataset", "root"), "\n".join(problems))


def _format_problems(content: Any) -> list[str]:
    """What keeps parsed JSON from being an annotation file, in words; the first few problems."""
    keys = {
        "images": ("id", "file_name"),
        "categories": ("id", "name"),
        "annotations": ("id", "image_id", "category_id"),
    }
    lacking = [key for key in keys if not isinstance(content, dict) or not isinstance(content.get(key), list)]
    if lacking:
        return [f"no list {key!r}; is this COCO's instances_*.json?" for key in lacking]

    def problems() -> Iterator[str]:
        for section, fields in keys.items():
            for position, entry in enumerate(content[section]):
                for field in fields:
                    given = entry.get(field) if isinstance(entry, dict) else None
                    fits, allowed = _TEXT if field in ("file_name", "name") else _NUMBER
                    if not fits(given):
                        yield f"{section}[{position}].{field}: given {_quoted(given)}, allowed: {allowed}"
                if section == "annotations" and isinstance(entry, dict) and not _is_flag(entry.get("iscrowd")):
                    given = _quoted(entry["iscrowd"])
                    yield f"annotations[{position}].iscrowd: given {given}, allowed: 0, 1"

    found = _first_problems(problems())
    return found or _first_problems(_reference_problems(content))


def _is_flag(given: Any) -> bool:
    return given is None or (isinstance(given, str | int | float) and given in _CROWD)


_CROWD: dict[object, int] = {None: 0, 0: 0, "0": 0, "false": 0, "False": 0, 1: 1, "1": 1, "true": 1, "True": 1}
"""What `iscrowd` says; True and 1.0 are the key 1."""


def _is_text(given: Any) -> bool:
    """Whether it can be the name of a file or class: json also makes texts with a NUL or with half a character."""
    return type(given) is str and given.strip() != "" and not re.search("[\0\ud800-\udfff]", given)


def _is_number(given: Any) -> bool:
    return type(given) is int and -(2**63) <= given < 2**63


_TEXT = (_is_text, "a text")
_NUMBER = (_is_number, "a whole number of 64 bits")


def _quoted(given: Any) -> str:
    try:
        return repr(given)
    except ValueError:  # a number that Python refuses to print
        return "a number of thousands of digits"


def _reference_problems(content: Any) -> Iterator[str]:
    unique = {"images": ("id", "file_name"), "categories": ("id", "name")}
    for section, field in [(section, field) for section, fields in unique.items() for field in fields]:
        seen = set()
        for position, entry in enumerate(content[section]):
            value = composed(entry[field]) if field == "name" else entry[field]
            if value in seen:
                yield f"{section}[{position}].{field}: {entry[field]!r} is there a second time"
            seen.add(value)
    images = {image["id"] for image in content["images"]}
    categories = {category["id"] for category in content["categories"]}
    for position, annotation in enumerate(content["annotations"]):
        if annotation["image_id"] not in images:
            yield f"annotations[{position}].image_id: {annotation['image_id']} is no id of an image"
        if annotation["category_id"] not in categories:
            yield f"annotations[{position}].category_id: {annotation['category_id']} is no id of a category"


def _first_problems(problems: Iterator[str]) -> list[str]:
    found: list[str] = []
    for problem in problems:
        if len(found) == _MOST_PROBLEMS:
            return [*found, "and more"]
        found.append(problem)
    return found


def _rows_of_ids(file: Path, ids: NDArray[np.int64], split: str) -> NDArray[np.int64]:
    """Rows of `ids` [N] that the file names, int64, ascending; one id a line, empty lines and # comments apart."""
    if not os.path.isfile(file):
        raise Unplannable(
            ("dataset", "ids"), f"{file}: no such file; give --set dataset.ids=FILE, with one image id a line"
        )
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        text = f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}"
        raise Unplannable(("dataset", "ids"), text) from None
    row = {image: position for position, image in enumerate(ids.tolist())}
    line_of: dict[int, int] = {}
    problems = []
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        image = int(text) if text.isdecimal() and text.isascii() else None
        if image is None:
            problems.append(f"{file}:{number}: given {text!r}, allowed: the id of an image, a whole number")
        elif image in line_of:
            problems.append(f"{file}:{number}: {image} is there a second time, first in line {line_of[image]}")
        elif image not in row:
            problems.append(f"{file}:{number}: {image} is not the id of a labelled image of {split}")
        else:
            line_of[image] = number
    if not problems and not line_of:
        problems.append(f"{file}: no ids in it")
    if problems:
        raise Unplannable(("dataset", "ids"), "\n".join(_first_problems(iter(problems))))
    return np.array(sorted(row[image] for image in line_of), dtype=np.int64)


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
