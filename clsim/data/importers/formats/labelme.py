"""LabelMe: one JSON file per image, with its shapes and with flags of the whole image."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import Field

from clsim.data.importers.contract import PRESENT, Export, Format, LabelledImage, ObjectOptions
from clsim.data.importers.reading import beginning, read_json, split_of_folder
from clsim.data.problems import Problems

NO_CLASSES = ("__ignore__", "_background_")
"""Labels that LabelMe itself takes for no class."""


class LabelMeOptions(ObjectOptions, frozen=True):
    """Options of LabelMe."""

    labels: Literal["auto", "shapes", "flags"] = Field(
        "auto", description="where the classes are: shapes, or flags of images; auto: whichever the files use"
    )


def recognise(folder: Path) -> bool:
    """Return whether a JSON file in a folder, or one folder below, looks like LabelMe's."""
    files = (path for pattern in ("*.json", "*/*.json") for path in sorted(folder.glob(pattern))[:5])
    return any(b'"shapes"' in head and (b'"flags"' in head or b'"version"' in head) for head in map(beginning, files))


def read(folder: Path, options: LabelMeOptions, problems: Problems) -> Export:
    """Read all JSON files with shapes in a folder, at any depth; folders named train, test or val are splits."""
    export = Export([], [])
    left_out: Counter[str] = Counter()
    shapes: list[dict[str, str]] = []
    flags: list[dict[str, str]] = []
    others = 0
    for path in sorted(folder.rglob("*.json")):
        content = read_json(path, problems)
        if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
            others += 1
            continue
        name = _image_name(path, content.get("imagePath"), folder)
        shapes.append(_shape_labels(path, content["shapes"], left_out, problems))
        flags.append(_flag_labels(path, content.get("flags") or {}, problems))
        relative = path.relative_to(folder)
        export.images.append(LabelledImage(name, {}, str(path), split_of_folder(relative)))
    if not export.images:
        problems.stop(folder, 'no JSON file with a list "shapes", which LabelMe writes')
    of_images = _chosen(options.labels, shapes, flags, folder, problems)
    for image, labels in zip(export.images, of_images, strict=True):
        image.labels = labels
    export.class_names = list(dict.fromkeys(name for labels in of_images for name in labels))
    what = "a flag of the image is true" if of_images is flags else "a shape has its label"
    export.notes.append(f"{len(of_images)} files; a class is present where {what}; images without a file are left out")
    export.notes += [f"{count} shapes {name!r} are left out: no class" for name, count in left_out.items()]
    if others:
        export.notes.append(f'{others} JSON files without "shapes" are passed over')
    return export


def _image_name(path: Path, given: Any, folder: Path) -> str:
    """Return the path of the image below the folder: it is relative to the JSON file, perhaps one of another system."""
    if not isinstance(given, str) or not given.strip():
        return (path.parent.relative_to(folder) / path.stem).as_posix() + ".jpg"
    parts: list[str] = []
    home = [] if given[:1] in "/\\" else list(path.parent.relative_to(folder).parts)
    for part in (*home, *PurePosixPath(given.strip().replace("\\", "/")).parts):
        if part == ".." and parts:
            parts.pop()
        elif part != "/":
            parts.append(part)
    return "/".join(parts)


def _shape_labels(path: Path, shapes: list[Any], left_out: Counter[str], problems: Problems) -> dict[str, str]:
    labels = {}
    for number, shape in enumerate(shapes):
        label = shape.get("label") if isinstance(shape, dict) else None
        if not isinstance(label, str) or not label.strip():
            problems.add(path, f"shapes[{number}].label: given {label!r}, allowed: a text")
        elif label in NO_CLASSES:
            left_out[label] += 1
        else:
            labels[label] = PRESENT
    return labels


def _flag_labels(path: Path, flags: Any, problems: Problems) -> dict[str, str]:
    if not isinstance(flags, dict) or not all(isinstance(value, bool) for value in flags.values()):
        problems.add(path, f"flags: given {str(flags)[:80]!r}, allowed: an object with true and false")
        return {}
    return {name: PRESENT for name, value in flags.items() if value}


def _chosen(
    labels: str, shapes: list[dict[str, str]], flags: list[dict[str, str]], folder: Path, problems: Problems
) -> list[dict[str, str]]:
    if labels == "auto" and any(shapes) and any(flags):
        problems.stop(folder, "has shapes and flags; --set labels=shapes or labels=flags says which are the classes")
    return flags if labels == "flags" or (labels == "auto" and any(flags)) else shapes


FORMAT = Format("labelme", "LabelMe (a JSON file per image)", LabelMeOptions, recognise, read)
