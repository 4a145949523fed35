"""Read an annotation file in COCO's `instances` format, and say all that is wrong with it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clsim.data.class_names import composed
from clsim.data.coco_forms import CROWD, is_flag, no_classes, tidied
from clsim.data.coco_labels import CocoLabels
from clsim.data.label_cache import Arrays, cached_labels, pack_texts, unpack_texts
from clsim.data.problems import Problems
from clsim.errors import Unplannable
from clsim.opening import read_regular

PARSER_VERSION = 3  # of the cached labels


def read_annotations(file: Path) -> CocoLabels:
    """Labels of an annotation file that is there, through the label cache.

    Raises:
        Unplannable: it is not an annotation file.
    """
    cached = cached_labels(("coco", PARSER_VERSION, str(file)), [file], lambda: _as_arrays(parse_annotations(file)))
    names, files, idle = (unpack_texts(cached[key]) for key in ("class_names", "files", "idle"))
    return CocoLabels(tuple(names), cached["ids"], files, cached["labels"], tuple(idle))


def parse_annotations(file: Path) -> CocoLabels:
    """Read an annotation file in COCO's `instances` format.

    Every number of categories is read, under any ids.

    Raises:
        Unplannable: not JSON, not this format, or an annotation of an image or a category the file does not have.
    """
    from pycocotools.coco import COCO  # here, so that a cached plan does not load it

    content = tidied(read_json(file))
    for look in (_section_problems, _format_problems, _reference_problems):
        problems = Problems()
        for problem in look(content):
            problems.add(file, problem)
        problems.refuse("root")
    for annotation in content["annotations"]:
        # many exporters leave it out or write it otherwise; pycocotools insists on a number
        annotation["iscrowd"] = CROWD[annotation.get("iscrowd")]
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
    labels = labels[kept]
    found = CocoLabels(tuple(names), ids[kept], files, labels)
    return found._replace(idle=tuple(sorted(no_classes(content["categories"]).intersection(found.unused()))))


def _as_arrays(labels: CocoLabels) -> Arrays:
    return {
        "class_names": pack_texts(labels.class_names),
        "ids": labels.ids,
        "files": pack_texts(labels.files),
        "labels": labels.labels,
        "idle": pack_texts(labels.idle),
    }


def read_json(file: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        Unplannable: it cannot be read, or is no JSON.
    """
    try:
        return json.loads(read_regular(file).decode("utf-8-sig"))
    except OSError as error:
        raise _problem(f"{file}: cannot be read: {error.strerror or error}") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise _problem(f"{file}: not valid JSON at {where}: {error.msg}; is the file complete?") from None
    except (ValueError, RecursionError) as error:  # not UTF-8, a number of thousands of digits, nested too deeply
        raise _problem(f"{file}: not valid JSON: {error}") from None


def _problem(text: str) -> Unplannable:
    return Unplannable(("dataset", "root"), text)


_FIELDS = {
    "images": ("id", "file_name"),
    "categories": ("id", "name"),
    "annotations": ("id", "image_id", "category_id"),
}


def _section_problems(content: Any) -> Iterator[str]:
    """What keeps parsed JSON from being an annotation file, in words; the next functions need what this one asks."""
    for key in _FIELDS:
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            yield f"no list {key!r}; is this COCO's instances_*.json?"


def _format_problems(content: Any) -> Iterator[str]:
    for section, fields in _FIELDS.items():
        for position, entry in enumerate(content[section]):
            for field in fields:
                given = entry.get(field) if isinstance(entry, dict) else None
                fits, allowed = _TEXT if field in ("file_name", "name") else _NUMBER
                if not fits(given):
                    yield f"{section}[{position}].{field}: given {_quoted(given)}, allowed: {allowed}"
            if section == "annotations" and isinstance(entry, dict) and not is_flag(entry.get("iscrowd")):
                yield f"annotations[{position}].iscrowd: given {_quoted(entry['iscrowd'])}, allowed: 0, 1"


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


def rows_of_ids(file: Path, ids: NDArray[np.int64], split: str) -> NDArray[np.int64]:
    """Return the rows of `ids` [N] that a file names, int64, ascending.

    Args:
        file: with one id a line, empty lines and # comments apart.
        ids: int64 [N], of the labelled images.
        split: their name, for messages.

    Raises:
        Unplannable: a line is no id, or the id of no labelled image; or there is no id.
    """
    if not os.path.isfile(file):
        raise Unplannable(
            ("dataset", "ids"), f"{file}: no such file; give --set dataset.ids=FILE, with one image id a line"
        )
    try:
        lines = read_regular(file).decode("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        text = f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}"
        raise Unplannable(("dataset", "ids"), text) from None
    row = {image: position for position, image in enumerate(ids.tolist())}
    line_of: dict[int, int] = {}
    problems = Problems()
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        image = int(text) if text.isdecimal() and text.isascii() else None
        if image is None:
            problems.add(f"{file}:{number}", f"given {text!r}, allowed: the id of an image, a whole number")
        elif image in line_of:
            problems.add(f"{file}:{number}", f"{image} is there a second time, first in line {line_of[image]}")
        elif image not in row:
            problems.add(f"{file}:{number}", f"{image} is not the id of a labelled image of {split}")
        else:
            line_of[image] = number
    if not problems.count and not line_of:
        problems.add(file, "no ids in it")
    problems.refuse("ids")
    return np.array(sorted(row[image] for image in line_of), dtype=np.int64)
