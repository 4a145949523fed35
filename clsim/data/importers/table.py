"""Make a table of images and labels of what an export says, and the section `dataset` that reads it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from clsim.data.class_names import composed, groups, shown, unfit_names
from clsim.data.importers.contract import BLANK, PRESENT, Export, LabelledImage, ObjectOptions, Options
from clsim.data.importers.image_finder import ImageFinder
from clsim.data.problems import Problems
from clsim.data.recognise import SHARE, train_and_test

MOST_NAMED = 20
"""Things left out that the report names one by one."""

Row = tuple[str, str | None, dict[str, str]]
"""File, split, class name -> label."""


@dataclass(frozen=True)
class LabelTable:
    """A table of labels.

    Attributes:
        text: of the CSV file.
        dataset: the section `dataset` that reads it, without `file`.
        counts: split name -> class name -> images that show it.
        images: split name -> images.
        notes: how the export was understood, a line each.
    """

    text: str
    dataset: dict[str, Any]
    counts: dict[str, dict[str, int]]
    images: dict[str, int]
    notes: list[str]


def make_table(export: Export, options: Options, folder: Path, problems: Problems) -> LabelTable:
    """Return the table of an export.

    Args:
        export: what its reader returned.
        options: of its format.
        folder: of the images.
        problems: is added to, and raised before anything is returned.
    """
    notes = list(export.notes)
    spelling = _spelling(export, options, notes, problems)
    images = _without_empty(export, options, notes)
    rows = _joined(_rows(images, export, options, folder, spelling, notes, problems), notes, problems)
    problems.refuse()
    if not rows:
        problems.stop(folder, "no labelled image is left")
    names = list(dict.fromkeys(spelling.values()))
    shown = {name for _, _, labels in rows for name, label in labels.items() if label == PRESENT}
    if options.classes == "used" and (unused := [name for name in names if name not in shown]):
        notes.append(f"classes that no image shows, left out (--set classes=all keeps them): {_listed(unused)}")
        names = [name for name in names if name in shown]
    if len(names) < 2:
        problems.stop(folder, f"{len(names)} class in {len(rows)} images; a stream needs two or more")
    names.sort()
    columns = [_free(column, names) for column in ("path", "split")]
    splits = list(dict.fromkeys(split for _, split, _ in rows if split is not None))
    dataset: dict[str, Any] = {"image_folder": str(folder), "label_columns": "rest"}
    dataset |= {"path_column": columns[0]} if columns[0] != "path" else {}
    dataset |= _split_keys(splits, [split for _, split, _ in rows], columns, notes)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*(columns if splits else columns[:1]), *names])
    for file, split, labels in rows:
        cells = (labels.get(name, export.otherwise) for name in names)
        writer.writerow([file, *([split or ""] if splits else []), *cells])
    counts = {split: dict.fromkeys(names, 0) for split in splits or [""]}
    sizes = dict.fromkeys(splits or [""], 0)
    for _, split, labels in rows:
        sizes[split or ""] = sizes.get(split or "", 0) + 1
        for name, label in labels.items():
            if label == PRESENT and name in counts.setdefault(split or "", dict.fromkeys(names, 0)):
                counts[split or ""][name] += 1
    return LabelTable(text.getvalue(), {**dataset, **export.dataset}, counts, sizes, notes)


def _spelling(export: Export, options: Options, notes: list[str], problems: Problems) -> dict[str, str]:
    """Return for each class name the one that is written: composed, without space around it."""
    spelling = {name: composed(name).strip() for name in export.class_names}
    for name in unfit_names(spelling) + [name for name, written in spelling.items() if not written]:
        problems.add("classes", f"{name!r} is no name of a class: it is empty, or cannot be shown in one line")
    for first, *others in groups(spelling.values()):
        if others and options.spellings == "error":
            text = f"{shown(others[0])} and {shown(first)} differ in spelling alone; --set spellings=join joins them"
            problems.add("classes", text)
        elif others:
            notes.append(f"joined as one class {shown(first)}: {', '.join(map(shown, others))}")
            spelling |= {name: first for name, written in spelling.items() if written in others}
    return spelling


def _without_empty(export: Export, options: Options, notes: list[str]) -> list[LabelledImage]:
    """Apply the option `empty` to images without an object."""
    without = [image for image in export.images if not image.labels]
    if not without or not isinstance(options, ObjectOptions):
        return export.images
    empty = options.empty
    meaning = {"absent": "show no class", "unknown": "have unknown labels", "left-out": "are left out"}[empty]
    notes.append(f"{len(without)} annotated images without an object {meaning} (--set empty=absent|unknown|left-out)")
    if empty == "unknown":
        for image in without:
            image.labels = dict.fromkeys(export.class_names, BLANK)
    return [image for image in export.images if image.labels or empty != "left-out"]


def _rows(
    images: Sequence[LabelledImage],
    export: Export,
    options: Options,
    folder: Path,
    spelling: dict[str, str],
    notes: list[str],
    problems: Problems,
) -> Iterable[tuple[LabelledImage, Row]]:
    finder = ImageFinder(folder, export.bare_names)
    missing = []
    for image in images:
        found = finder.find(image.name, image.other_names)
        file = found.file
        if file is None and options.missing == "keep":
            file = image.name.replace("\\", "/")
            if file.startswith("/") or ".." in PurePosixPath(file).parts or "://" in file or "\0" in file:
                problems.add(image.where, f"image {image.name!r} leads out of {folder}")
                continue
        if file is None:
            missing.append(image.name)
            if options.missing == "error":
                more = "" if "may be" in found.problem else "; --set images=FOLDER, missing=left-out or missing=keep"
                problems.add(image.where, found.problem + more)
            continue
        labels: dict[str, str] = {}
        for name, label in image.labels.items():
            written = spelling[name]
            labels[written] = PRESENT if PRESENT in (label, labels.get(written)) else label
        yield image, (file, image.split, labels)
    if missing:
        notes.append(f"{len(missing)} labelled images whose file is not there, left out: {_listed(missing)}")


def _joined(found: Iterable[tuple[LabelledImage, Row]], notes: list[str], problems: Problems) -> list[Row]:
    """Return the rows without those that repeat another one; the same file with other labels is a problem."""
    first: dict[str, tuple[LabelledImage, Row]] = {}
    repeated = 0
    for image, row in found:
        other, of_other = first.setdefault(row[0], (image, row))
        if other is image:
            continue
        if row != of_other:
            what = "labels" if row[2] != of_other[2] else f"split {row[1]!r}, not {of_other[1]!r}"
            problems.add(
                image.where, f"image {image.name!r} is {row[0]} again, with other {what}; first: {other.where}"
            )
        repeated += 1
    if repeated:
        notes.append(f"{repeated} images are listed again with equal labels, and joined")
    return [row for _, row in first.values()]


def _split_keys(
    splits: list[str], of_rows: Sequence[str | None], columns: list[str], notes: list[str]
) -> dict[str, Any]:
    """Return the keys of `dataset` that say what is trained and tested on; `splits` is emptied if it says nothing."""
    pair = train_and_test(splits)
    if pair is None or None in of_rows:
        if splits:
            notes.append(f"parts of the export that are not used as splits: {_listed(splits)}")
        splits.clear()
        notes.append("nothing is named test: a fifth of the images, stratified by class")
        return {"test": SHARE}
    keys: dict[str, Any] = {"split_column": columns[1], "train_splits": [pair[0]]}
    keys |= {"test": SHARE} if pair[1] is None else {"test_splits": [pair[1]]}
    if others := [split for split in splits if split not in pair]:
        keys["other_splits"] = others
        notes.append(f"splits that are left out, see other_splits in the scenario: {_listed(others)}")
    return keys


def _free(column: str, taken: Sequence[str]) -> str:
    while column in taken:
        column += "_"
    return column


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - MOST_NAMED
    return ", ".join([*map(repr, names[:MOST_NAMED]), *([f"and {rest} more"] if rest > 0 else [])])
