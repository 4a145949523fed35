"""Forms of COCO files that exporters write, brought into the official one where they can mean one thing only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from os.path import isdir, isfile  # unlike Path's they answer for a path that no disk can hold
from pathlib import Path
from typing import Any

from clsim.data.class_names import composed

EXPORTED = "_annotations.coco.json"
"""Roboflow's file in the folder of each split."""
CROWD: dict[object, int] = {None: 0, 0: 0, "0": 0, "false": 0, "False": 0, 1: 1, "1": 1, "true": 1, "True": 1}
"""What `iscrowd` says; True and 1.0 are the key 1."""
_DIGITS = re.compile(r"-?[0-9]{1,19}")
_EXACT = 2.0**53
"""Whole floats up to here are exact."""


def annotation_file(root: Path, split: str) -> Path:
    """Return the object annotations of a split: COCO's place, or Roboflow's if only that is there."""
    official, exported = root / "annotations" / f"instances_{split}.json", root / split / EXPORTED
    return exported if isfile(exported) and not isfile(official) else official


def folder_of_split(root: Path, split: str) -> Path:
    """Return the folder of a split's images: COCO's, or CVAT's (`images/SPLIT`, `images`) if only that is there."""
    official = root / split
    places = (official, root / "images" / split, root / "images")
    return next((place for place in places if isdir(place)), official)


def folder_of_files(folder: Path, files: Sequence[str]) -> Path:
    """Return where file names start: above the folder if all of them name it and it has no folder of its own name."""
    above = bool(files) and all(file.startswith(f"{folder.name}/") for file in files)
    return folder.parent if above and not isdir(folder / folder.name) else folder


def tidied(content: Any) -> Any:
    """Return parsed JSON in the form of the official files, changed in place; what is no such file stays as it is.

    Ids "17" and 17.0 become 17. Annotations are numbered anew: nothing refers to their ids, some exporters leave them
    out, and pycocotools loses annotations that share one. An image or a category that is listed again with the same id
    and name is there once.
    """
    sections = ("images", "categories", "annotations")
    if not isinstance(content, dict) or not all(isinstance(content.get(section), list) for section in sections):
        return content
    for section, keys in (("images", ["id"]), ("categories", ["id"]), ("annotations", ["image_id", "category_id"])):
        for entry in content[section]:
            for key in keys:
                if isinstance(entry, dict) and key in entry:
                    entry[key] = _whole(entry[key])
    for section, name in (("images", "file_name"), ("categories", "name")):
        content[section] = _once(content[section], name)
    for number, annotation in enumerate(content["annotations"]):
        if isinstance(annotation, dict):
            annotation["id"] = number
    return content


def is_flag(given: Any) -> bool:
    """Return whether `CROWD` has a value of `iscrowd`, which may be anything."""
    return given is None or (isinstance(given, str | int | float) and given in CROWD)


def no_classes(categories: Sequence[dict[str, Any]]) -> frozenset[str]:
    """Return the names that exporters list beside the classes: super-categories of others, and `__background__`."""
    pairs = [(entry["name"], entry.get("supercategory")) for entry in categories]
    above = {composed(over) for name, over in pairs if isinstance(over, str) and over != name}
    names = (composed(name) for name, _ in pairs)
    return frozenset(name for name in names if name in above or name.strip("_ ").casefold() == "background")


def _whole(given: Any) -> Any:
    if isinstance(given, str) and _DIGITS.fullmatch(given.strip()):
        return int(given)
    return int(given) if isinstance(given, float) and given.is_integer() and abs(given) <= _EXACT else given


def _once(entries: list[Any], name: str) -> list[Any]:
    seen: set[tuple[int, str]] = set()
    kept = []
    for entry in entries:
        key = (entry.get("id"), entry.get(name)) if isinstance(entry, dict) else (None, None)
        if isinstance(key[0], int) and isinstance(key[1], str):
            if key in seen:
                continue
            seen.add((key[0], key[1]))
        kept.append(entry)
    return kept
