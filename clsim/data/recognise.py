"""Recognise how images and labels lie in a folder: VOC, COCO, NUS-WIDE, Open Images, a table, a folder per class."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from clsim.data.folder import SUFFIXES as IMAGES
from clsim.data.importers.registry import recognised_format
from clsim.data.recognise_table import recognise_table
from clsim.data.table_form import BadTable
from clsim.data.voc import VOC_CLASSES
from clsim.data.voc_annotations import read_annotations
from clsim.data.voc_layout import annotation_files, read_ids
from clsim.errors import ClsimError, storage_errors
from clsim.opening import read_regular

SHARE = {"share": 0.2}
"""Of the images, for testing, where nothing in the folder is named so."""
TRAIN = ("trainval", "train", "training")
TEST = ("test", "testing", "val", "valid", "validation")
NO_FINDING = ("normal", "no_finding", "no finding", "none", "negative", "healthy")
OPEN_IMAGES = "-annotations-human-imagelabels*.csv"
MOST_BYTES = 1_000_000_000
"""Of a JSON file that is read to see whether it is in COCO's format."""


@dataclass(frozen=True)
class Recognised:
    """A layout.

    Attributes:
        layout: in words.
        dataset: the section `dataset` of a scenario that reads it, with absolute paths.
        notes: what somebody should know or check who reads that section, a line each.
    """

    layout: str
    dataset: dict[str, Any]
    notes: tuple[str, ...] = ()


def recognise(folder: Path) -> Recognised:
    """Return the layout of a folder.

    Raises:
        ClsimError: no folder, or none of the layouts; or a file in it that cannot be read. An export that needs an
            import is named, with the command.
    """
    folder = Path(os.path.abspath(folder))
    if not folder.is_dir():
        raise ClsimError(f"{folder}: no such folder")
    unreadable: BadTable | None = None
    export = recognised_format(folder)
    advice = f"clsim import {export.name} {quote(str(folder))} DIR" if export is not None else ""
    for look in (_voc, _coco, _nuswide, _openimages, _table, *((_class_folders,) if export is None else ())):
        try:
            with storage_errors(folder):
                found = look(folder)
            if found is not None:
                if export is None or found.dataset["name"] == "openimages":
                    return found
                note = f"looks like {export.description}, which an import reads best: {advice}"
                return Recognised(found.layout, found.dataset, (*found.notes, note))
        except BadTable as error:  # perhaps of something else
            unreadable = error
    if export is not None:
        raise ClsimError(f"{folder}: looks like {export.description}; write a table and a scenario from it: {advice}")
    raise unreadable or ClsimError(
        f"{folder}: holds none of the layouts that are known: VOC (VOC2007/ImageSets/Main/*.txt), COCO (*.json with "
        "images, annotations and categories), NUS-WIDE (ImageList/TrainImagelist.txt), a table (.csv, .tsv, .jsonl, "
        ".parquet) with a column of image files, or "
        "one folder per class with images in it; clsim import --list names exports that can be imported"
    )


def _voc(folder: Path) -> Recognised | None:
    own = (folder / "ImageSets" / "Main").is_dir()
    root = folder.parent if own else folder / "VOCdevkit" if (folder / "VOCdevkit").is_dir() else folder
    homes = [home for home in ([folder] if own else _folders(root)) if (home / "ImageSets" / "Main").is_dir()]
    splits = {home: _voc_splits(home) for home in homes}
    pairs = [(home, *pair) for home in homes if (pair := train_and_test(splits[home]))]
    if not pairs:
        return None
    home, train, test = next((found for found in pairs if found[2] is not None), pairs[0])
    name = re.sub(r"^VOC(?=\d{4}$)", "", home.name)
    dataset: dict[str, Any] = {"name": "voc", "root": str(root), "train": [f"{name} {train}"]}
    dataset["test"] = SHARE if test is None else [f"{name} {test}"]
    lists = (home / "ImageSets" / "Main" / f"{split}.txt" for split in (train, test) if split)
    images = [image for path in lists for image in read_ids(path, "root")]
    files = annotation_files(str(home / "Annotations"), images)
    if (home / "Annotations").is_dir():
        classes = {name for objects in read_annotations(files) for name in objects}
    else:
        dataset["labels"] = "class-files"
        end = f"_{train}.txt"
        classes = {path.name.removesuffix(end) for path in (home / "ImageSets" / "Main").glob(f"*{end}")}
    if not classes <= set(VOC_CLASSES):
        dataset["class_names"] = sorted(classes)
    others = [f"{other.name}: {', '.join(splits[other])}" for other in homes if other != home]
    return Recognised("PASCAL VOC", dataset, tuple(f"also there: {other}" for other in others))


def _voc_splits(home: Path) -> list[str]:
    """Return the names of lists of images, without those of single classes, `<class>_<split>.txt`."""
    stems = sorted(path.stem for path in (home / "ImageSets" / "Main").glob("*.txt"))
    return [stem for stem in stems if not any(stem.endswith(f"_{other}") for other in stems)]


def _coco(folder: Path) -> Recognised | None:
    of_splits = {path.stem.removeprefix("instances_"): path for path in folder.glob("annotations/instances_*.json")}
    official = [name for name in sorted(of_splits) if (folder / name).is_dir()]
    if pair := train_and_test(official):
        dataset = {"name": "coco", "root": str(folder), "train": pair[0], "test": pair[1] or SHARE}
        rest = [name for name in official if name not in pair]
        return Recognised("COCO", dataset, (f"also there: {', '.join(rest)}",) if rest else ())
    found = {
        path: images
        for path in sorted({*folder.glob("*.json"), *folder.glob("*/*.json")})
        if (images := _coco_images(path))
    }
    names = {_words(path.relative_to(folder)): path for path in found}
    pair = train_and_test(list(names)) or ((next(iter(names)), None) if len(names) == 1 else None)
    if pair is None:
        return None
    train, test = names[pair[0]], names[pair[1]] if pair[1] else None
    dataset = {"name": "coco", "train_file": str(train), **({"test_file": str(test)} if test else {"test": SHARE})}
    files = [train, *([test] if test else [])]
    if all((path.parent / found[path][0]).is_file() for path in files):
        return Recognised("COCO", dataset)
    homes = [folder, *_folders(folder)]
    for home in homes:
        if all((home / found[path][0]).is_file() for path in files):
            return Recognised("COCO", {**dataset, "image_folder": str(home)})
    return Recognised("COCO", dataset, ("image_folder: no folder holds the images that these files name",))


def _coco_images(path: Path) -> list[str]:
    """Return the names of the images of an annotation file in COCO's format; none of another file."""
    try:
        if path.stat().st_size > MOST_BYTES:
            return []
        content = json.loads(read_regular(path))
        if all(isinstance(content[key], list) for key in ("images", "annotations", "categories")):
            return [str(image["file_name"]) for image in content["images"]]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        pass
    return []


def _words(path: Path) -> str:
    """Return what a file is named by: its own name, or its folder's where that says more."""
    stem = path.stem.lower()
    return stem if any(word in stem for word in (*TRAIN, *TEST)) else path.as_posix().lower()


def _nuswide(folder: Path) -> Recognised | None:
    if not (folder / "ImageList" / "TrainImagelist.txt").is_file():
        return None
    return Recognised("NUS-WIDE", {"name": "nuswide", "root": str(folder)})


def _openimages(folder: Path) -> Recognised | None:
    there = [split for split in ("train", "test", "validation") if [*folder.glob(f"*{split}{OPEN_IMAGES}")]]
    if "train" not in there or len(there) < 2:
        return None
    dataset = {"name": "openimages", "root": str(folder), "train": "train", "test": there[1]}
    rest = (f"also there: {', '.join(there[2:])}",) if there[2:] else ()
    return Recognised("Open Images", dataset, (*rest, "unlisted: unknown; a class that no line names is not annotated"))


def _table(folder: Path) -> Recognised | None:
    found = recognise_table(folder, lambda names: train_and_test(list(names)), SHARE)
    return None if found is None else Recognised("a table of images", *found)


def _class_folders(folder: Path) -> Recognised | None:
    dataset: dict[str, Any] = {"name": "folder", "root": str(folder)}
    homes = {home.name: home for home in _folders(folder)}
    pair = train_and_test([name for name in homes if _classes(homes[name])], exactly=True)
    if pair is None:
        classes = _classes(folder)
        if len(classes) < 2:
            return None
        dataset["test"] = SHARE
    else:
        classes = _classes(homes[pair[0]])
        dataset |= {"train": pair[0], "test": pair[1] or SHARE}
    hints = [
        f"no_finding: {name}    # if its images show none of the classes"
        for name in classes
        if name.lower() in NO_FINDING
    ]
    return Recognised("one folder per class", dataset, tuple(hints))


def _classes(folder: Path) -> list[str]:
    """Return the names of the folders in a folder that hold an image, at any depth."""
    return [below.name for below in _folders(folder) if _holds_image(below)]


def _holds_image(folder: Path) -> bool:
    return any(_is_image(file) for _, _, files in os.walk(folder) for file in files)


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGES) and not name.startswith(".")


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def train_and_test(names: Sequence[str], exactly: bool = False) -> tuple[str, str | None] | None:
    """Return the names of the images to train and to test on; None in place of the latter: a share of the former.

    Args:
        names: of splits, files or folders.
        exactly: they must be such words, not only contain them.

    Returns:
        None: none is to train on.
    """

    def first(words: Iterable[str], rest: Sequence[str]) -> str | None:
        matches: Callable[[str, str], bool] = str.__eq__ if exactly else str.__contains__
        return next((name for word in words for name in rest if matches(name.lower(), word)), None)

    train = first(TRAIN, names)
    if train is None:
        return None
    return train, first(TEST, [name for name in names if name != train and (exactly or "train" not in name.lower())])
