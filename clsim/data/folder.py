"""Images in one folder per class, as torchvision's ImageFolder and many downloads have them.

    ROOT/train/cat/1.jpg        or, with a share of the images for testing,        ROOT/cat/1.jpg
    ROOT/train/dog/2.jpg                                                           ROOT/dog/2.jpg
    ROOT/test/cat/3.jpg

An image that lies in several class folders shows several classes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from clsim.data.class_names import composed
from clsim.data.held_out import ShareOfTraining, split_rows
from clsim.data.image_files import SPLITS, ImageFiles, ImageFilesConfig
from clsim.data.label_cache import cached_labels
from clsim.data.path_options import DATA_PATH
from clsim.data.source import Split
from clsim.errors import ClsimError, Unplannable, did_you_mean
from clsim.opening import regular

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
"""Files with another suffix, and hidden ones, are passed over."""

_Subfolder = Annotated[str, Field(min_length=1)]


class FolderConfig(ImageFilesConfig, frozen=True, extra="forbid", strict=True):
    """Options of the data set `folder`."""

    name: Literal["folder"] = Field(description="your own images, in one folder per class")
    root: Annotated[str | None, DATA_PATH] = Field(
        None, description="folder that contains the class folders; relative to the scenario file"
    )
    train: _Subfolder | None = Field(
        None,
        description="folder below root with the class folders for training; default: train, or root itself if "
        "`test` is a share",
    )
    test: _Subfolder | ShareOfTraining = Field(
        "test",
        description="folder below root with the class folders for testing, or {share: 0.2} of the training images",
    )
    no_finding: _Subfolder | None = Field(
        None, description="folder whose images show no class, such as normal; it is not a class"
    )

    @model_validator(mode="after")
    def _two_folders(self) -> FolderConfig:
        if self.train_folder == self.test:
            text = "allowed: another folder than train"
            raise PydanticCustomError("same_split", "{text}", {"text": text, "below": ("test",)})
        return self

    @property
    def train_folder(self) -> str:
        """Folder below root with the class folders to train on."""
        return self.train or ("." if isinstance(self.test, ShareOfTraining) else "train")


class ClassFolders(NamedTuple):
    """The images below one folder of class folders."""

    home: Path
    class_names: list[str]  # ascending
    files: list[str]  # relative to home, ascending; of an image in several class folders the first
    labels: NDArray[np.int8]  # [N, C], 1 present, 0 absent


class Folder(ImageFiles):
    """The data set `folder` as an `ImageSource`. Rows follow paths, columns the alphabet of class names.

    DECIDED: files of several class folders are one image when they have the same name and the same bytes. The name
    alone is not enough, because many data sets count from 1 in each class; only files that share name and size are
    read.
    """

    Options = FolderConfig

    def __init__(self, config: FolderConfig) -> None:
        super().__init__(config)
        self.config = config

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the class folders, alphabetical."""
        return tuple(name for name in self._found["train"].class_names if name != self._nothing)

    def annotations(self, split: Split) -> NDArray[np.int8]:
        """True labels, int8 [N, C], 1 present, 0 absent; read-only.

        Raises:
            Unplannable: a folder is not there or holds no images; with its path.
        """
        return self._annotated[split]

    def files(self, split: Split) -> list[Path]:
        """Path of each image, in the order of `labels`."""
        found = self._found[split]
        return [found.home / file for file in found.files]

    def images_folder(self) -> Path:
        """The root."""
        return self._root

    def missing_images(self, split: Split, missing: Sequence[Path], total: int) -> ClsimError:
        """Name the first image that has gone since the folder was listed."""
        return _problem("root", f"{missing[0]}: no such file ({len(missing)} of {total} images of {split} are missing)")

    @property
    def _nothing(self) -> str | None:
        """Name of the class folder whose images show no class."""
        return None if self.config.no_finding is None else composed(self.config.no_finding)

    @cached_property
    def _root(self) -> Path:
        if self.config.root is None:
            raise _problem("root", "not set: where your class folders lie; give --set dataset.root=FOLDER")
        root = Path(os.path.abspath(self.config.root))
        if not os.path.isdir(root):
            raise _problem("root", f"{root}: no such folder")
        return root

    @cached_property
    def _found(self) -> dict[Split, ClassFolders]:
        train = self._listed("train", self.config.train_folder)
        if isinstance(self.config.test, ShareOfTraining):
            return self._shared(train, self.config.test)
        test = self._listed("test", self.config.test)
        if unknown := [name for name in test.class_names if name not in (*train.class_names, self._nothing)]:
            hint = did_you_mean(unknown[0], train.class_names)
            raise _problem("test", f"{test.home / unknown[0]}: a class without training images{hint}")
        _refuse_common(train, test)
        labels = np.zeros((len(test.files), len(train.class_names)), dtype=np.int8)
        labels[:, [train.class_names.index(name) for name in test.class_names if name in train.class_names]] = (
            test.labels[:, [name in train.class_names for name in test.class_names]]
        )
        return {"train": train, "test": test._replace(class_names=train.class_names, labels=labels)}

    @cached_property
    def _annotated(self) -> dict[Split, NDArray[np.int8]]:
        annotated: dict[Split, NDArray[np.int8]] = {}
        for split, found in self._found.items():
            nothing = [name == self._nothing for name in found.class_names]
            labels = np.ascontiguousarray(found.labels[:, ~np.array(nothing, dtype=bool)])
            empty = found.labels[:, nothing].any(axis=1)
            if (both := np.flatnonzero(empty & labels.any(axis=1))).size:
                text = f"{found.home / found.files[both[0]]}: in {self.config.no_finding!r} and in another class folder"
                raise _problem("no_finding", text)
            labels.flags.writeable = False
            annotated[split] = labels
        return annotated

    def _shared(self, found: ClassFolders, rule: ShareOfTraining) -> dict[Split, ClassFolders]:
        sides = split_rows(found.labels, rule)
        return {
            split: found._replace(files=[found.files[row] for row in rows.tolist()], labels=found.labels[rows])
            for split, rows in zip(SPLITS, sides, strict=True)
        }

    def _listed(self, key: Split, folder: str) -> ClassFolders:
        home = Path(os.path.abspath(self._root / folder))
        if not os.path.isdir(home):
            there = _subfolders(self._root)
            hint = f"{did_you_mean(folder, there)}; folders there: {', '.join(there) or 'none'}"
            share = "; if these are the classes, give --set dataset.test={share: 0.2}" if there else ""
            raise _problem(key, f"{home}: no such folder{hint}{share}")
        names = _subfolders(home)
        if not names:
            raise _problem(key, f"{home}: no class folder in it")
        inside = {name: _images(home / name) for name in names}
        if empty := [name for name in names if not inside[name]]:
            raise _problem(key, f"{home / empty[0]}: no image in it; read are {', '.join(SUFFIXES)}")
        nothing = self._nothing
        if key == "train" and nothing is not None and nothing not in map(composed, names):
            raise _problem("no_finding", f"{home}: no class folder {nothing!r}{did_you_mean(nothing, names)}")
        return _joined(home, names, inside)


def _subfolders(home: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(home) if entry.is_dir() and not entry.name.startswith("."))


def _images(folder: Path) -> list[str]:
    """Paths of the images below a folder, relative to it, ascending."""
    found = []
    for home, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = os.path.relpath(home, folder)
        found += [
            os.path.normpath(os.path.join(below, file))
            for file in files
            if file.lower().endswith(SUFFIXES) and not file.startswith(".")
        ]
    return sorted(found)


def _joined(home: Path, names: list[str], inside: dict[str, list[str]]) -> ClassFolders:
    """Images of class folders, those in several of them once."""
    places: dict[str, list[str]] = {}
    for name in names:
        for image in inside[name]:
            places.setdefault(image, []).append(f"{name}/{image}")
    contents = _contents([home / file for files in places.values() if len(files) > 1 for file in files])
    classes_of: dict[str, list[str]] = {}
    for image, files in places.items():
        first: dict[str, str] = {}  # content -> file it is known as
        for file in files:
            known = first.setdefault(contents[str(home / file)], file) if len(files) > 1 else file
            classes_of.setdefault(known, []).append(file.removesuffix(f"/{image}"))
    files = sorted(classes_of)
    class_names = sorted(set(map(composed, names)))
    column = {name: class_names.index(composed(name)) for name in names}
    labels = np.zeros((len(files), len(class_names)), dtype=np.int8)
    for row, file in enumerate(files):
        labels[row, [column[name] for name in classes_of[file]]] = 1
    return ClassFolders(home, class_names, files, labels)


def _refuse_common(train: ClassFolders, test: ClassFolders) -> None:
    """An image that is trained and tested on makes every number of a run meaningless."""
    names = [{file.partition("/")[2] for file in found.files} for found in (train, test)]
    common = names[0] & names[1]
    alike = [[found.home / file for file in found.files if file.partition("/")[2] in common] for found in (train, test)]
    contents = _contents([*alike[0], *alike[1]])
    known = {(file.name, contents[str(file)]): file for file in alike[0]}
    if same := [(file, known[key]) for file in alike[1] if (key := (file.name, contents[str(file)])) in known]:
        raise _problem("test", f"{same[0][0]}: the same image as {same[0][1]} ({len(same)} test images are trained on)")


def _contents(files: Sequence[Path]) -> dict[str, str]:
    """What tells files of one name apart: size, and SHA-256 where sizes agree; read once, then cached."""
    paths = sorted({str(file) for file in files})
    sizes = {path: os.stat(path).st_size for path in paths}
    same: dict[tuple[str, int], int] = {}
    for path in paths:
        key = os.path.basename(path), sizes[path]
        same[key] = same.get(key, 0) + 1
    read = [path for path in paths if same[os.path.basename(path), sizes[path]] > 1]
    digests = np.empty((0, 32), dtype=np.uint8)
    if read:
        which = hashlib.sha256("\n".join(read).encode(errors="surrogateescape")).hexdigest()
        digests = cached_labels(("folder", 1, which), read, lambda: {"digests": _digests(read)})["digests"]
    known = {path: digest.tobytes().hex() for path, digest in zip(read, digests, strict=True)}
    return {path: f"{sizes[path]} {known.get(path, '')}" for path in paths}


def _digests(paths: Sequence[str]) -> NDArray[np.uint8]:
    """SHA-256 of each file, uint8 [n, 32]."""
    digests = np.empty((len(paths), 32), dtype=np.uint8)
    for row, path in enumerate(paths):
        with open(path, "rb", opener=regular) as file:
            digests[row] = np.frombuffer(hashlib.file_digest(file, "sha256").digest(), dtype=np.uint8)
    return digests


def _problem(key: str, text: str) -> Unplannable:
    return Unplannable(("dataset", key), text)
