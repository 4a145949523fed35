"""Where things are in a folder in PASCAL VOC's layout: lists of images, files of each, and what to download."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from clsim.data.folder import SUFFIXES
from clsim.errors import Unplannable
from clsim.opening import read_regular

ARCHIVES = {
    "2007 trainval": "VOCtrainval_06-Nov-2007.tar",
    "2007 test": "VOCtest_06-Nov-2007.tar",
    "2008 trainval": "VOCtrainval_14-Jul-2008.tar",
    "2009 trainval": "VOCtrainval_11-May-2009.tar",
    "2010 trainval": "VOCtrainval_03-May-2010.tar",
    "2011 trainval": "VOCtrainval_25-May-2011.tar",
    "2012 trainval": "VOCtrainval_11-May-2012.tar",
}
"""What to download from host.robots.ox.ac.uk/pascal/VOC; test labels are public for 2007 only."""

YEAR = r"20(?:07|08|09|10|11|12)"
FOLDER = r"(?!(?:19|20)[0-9]{2} )[^\s/\\.](?:[^/\\]*[^\s/\\])?"
"""Not another year: one without public data is more likely a mistake than a folder."""
SPLIT = r"[A-Za-z0-9][A-Za-z0-9_-]*"

_IDS = re.compile(r"[\w-]+(?:\n[\w-]+)*")
"""Plain ids, one a line."""
_ID = re.compile(r"[\w-][\w.-]*")
_ENDINGS = (*SUFFIXES, ".xml")
_ALWAYS = "1"


class Listed(NamedTuple):
    """A split of a year or of another folder, such as 2007 trainval or MyData train."""

    year: str
    split: str

    @property
    def folder(self) -> str:
        """The folder below the root: VOC2007 for 2007, any other name as it is."""
        return f"VOC{self.year}" if re.fullmatch(YEAR, self.year) else self.year

    @property
    def archive(self) -> str:
        """Name of the archive that holds it; an empty string when there is no public one."""
        known = "trainval" if self.split in ("train", "val", "trainval") else self.split
        return ARCHIVES.get(f"{self.year} {known}", "")


def listed_split(text: str) -> Listed:
    """Return the split that a text names, such as "2007 trainval"."""
    year, _, split = text.rpartition(" ")
    return Listed(year, split)


def read_ids(path: Path, key: str) -> list[str]:
    """Return the image ids of a text file, ascending, so that the order of its lines decides nothing.

    A line may be the path of an image or annotation, and each line may end in the flag 1.

    Args:
        path: of the file.
        key: option of `dataset` that an error names.

    Raises:
        Unplannable: a line that is no id, or an image that is listed twice.
    """
    lines = list(map(str.strip, read_text(path, key).splitlines()))
    ids = list(filter(None, lines))
    if not ids:
        raise problem(key, f"{path}: names no image")
    if not _IDS.fullmatch("\n".join(ids)):  # one match for all, because a warm start has little else to do
        flags = [line.split()[1:] for line in ids]
        flagged = all(flag == [_ALWAYS] for flag in flags)
        ids = [_id_in(path, number, line, flagged, key) for number, line in enumerate(lines, 1) if line]
    ids.sort()
    if len(set(ids)) < len(ids):
        twice = next(one for one, next_one in pairwise(ids) if one == next_one)
        raise problem(key, f"{path}: image {twice} is listed more than once")
    return ids


def _id_in(path: Path, number: int, line: str, flagged: bool, key: str) -> str:
    name = image_id(line.split()[0] if flagged else line)
    if name is None:
        flags = "; lines of a list may end in 1, if all do" if len(line.split()) == 2 else ""
        raise problem(key, f"{path}:{number}: given {line[:60]!r}, expected one image id{flags}")
    return name


def image_id(text: str) -> str | None:
    """Return the id of an image that a text names as id, file or path; None: it is no id."""
    *folders, name = text.replace("\\", "/").split("/")
    stem, ending = os.path.splitext(name)
    name = stem if ending.lower() in _ENDINGS else name
    return name if ".." not in folders and _ID.fullmatch(name) else None


def read_text(path: Path, key: str) -> str:
    """Return the text of a file in UTF-8, with or without a byte order mark."""
    try:
        return read_regular(path).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise problem(key, f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def image_files(folder: Path, ids: Sequence[str]) -> list[Path]:
    """Return the file of each image: ID.jpg, or else the one file ID with another ending of images.

    Where there is none it is ID.jpg.

    Raises:
        Unplannable: several files may be the image.
    """
    there = set(os.listdir(folder)) if os.path.isdir(folder) else set()
    others = ids if not there else [image for image in ids if f"{image}.jpg" not in there]
    found: dict[str, list[str]] = {}
    for name in sorted(there) if others else ():
        stem, ending = os.path.splitext(name)
        if ending.lower() in SUFFIXES:
            found.setdefault(stem, []).append(name)
    name_of = {image: found.get(image, []) for image in others}
    for image, names in name_of.items():
        if len(names) > 1:
            raise problem("root", f"{folder}: image {image} may be {' or '.join(names)}")
    return [folder / (name_of.get(image) or [f"{image}.jpg"])[0] for image in ids]


def annotation_files(folder: str, ids: Sequence[str]) -> list[str]:
    """Return the annotation of each image: ID.xml, or ID.XML and the like if only that is there."""
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    found = {os.path.splitext(name)[0]: name for name in names if name.lower().endswith(".xml")}
    found |= {name.removesuffix(".xml"): name for name in names if name.endswith(".xml")}
    return [f"{folder}/{found.get(image, f'{image}.xml')}" for image in ids]


def download_advice(root: Path, listed: Listed, own: bool, folder: str = "ImageSets/Main") -> str:
    """Return what to download and how to unpack it.

    Args:
        root: the folder VOCdevkit.
        listed: the split that is missing.
        own: whether the classes are not those of PASCAL VOC, so that no public archive holds it.
        folder: what is missing below that of `listed`.
    """
    place = root / listed.folder / folder
    if own:
        return f"expected is {place}, as in PASCAL VOC; clsim downloads nothing"
    where = f"unpacked so that {place} exists; clsim downloads nothing"
    if listed.archive:
        return f"needed is {listed.archive} from host.robots.ox.ac.uk/pascal/VOC/voc{listed.year}, {where}"
    return f"no public archive holds the labels of {listed.year} {listed.split}; your own files must be there: {where}"


def problem(key: str, text: str) -> Unplannable:
    """Return what is wrong with an option of the data set."""
    return Unplannable(("dataset", key), text)
