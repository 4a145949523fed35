"""YOLO: a text file per image with one object per line, and class names in `data.yaml`, `classes.txt` or `obj.names`.

Read are the layouts of Ultralytics and Roboflow (`images/train` beside `labels/train`, or `train/images` beside
`train/labels`), Darknet's (`obj.data`, labels beside the images), and flat folders.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from clsim.data.importers.contract import PRESENT, Export, Format, LabelledImage, ObjectOptions
from clsim.data.importers.image_finder import ImageFinder
from clsim.data.importers.reading import beginning, read_lines, read_text, split_of_folder
from clsim.data.problems import Problems

SPLIT_KEYS = {"train": "train", "val": "val", "valid": "val", "test": "test"}
CLASS_FILES = ("classes.txt", "obj.names", "labels/classes.txt", "classes.names")
MOST_YAML = 10_000_000
"""Characters of `data.yaml`."""


@dataclass(frozen=True)
class _Named:
    """The file that names the classes, the names by number, and split -> what it names as images of that split."""

    file: Path
    names: dict[int, str]
    splits: dict[str, list[str]]


def recognise(folder: Path) -> bool:
    """Return whether a folder has class names beside label files or the paths of splits."""
    yamls = (beginning(path) for path in _yamls(folder))
    named = any((folder / name).is_file() for name in CLASS_FILES)
    return any(b"names:" in head and b"train:" in head for head in yamls) or (named and _has_label(folder))


def read(folder: Path, options: ObjectOptions, problems: Problems) -> Export:
    """Read the labels of all images; an image without a label file shows nothing, as YOLO takes it."""
    named = _named(folder, problems)
    finder = ImageFinder(Path(options.images) if options.images is not None else folder)
    images = list(_images(folder, named, finder, problems))
    export = Export(list(dict.fromkeys(named.names.values())), [])
    used: set[Path] = set()
    for name, split in images:
        found = finder.find(name).file or name
        file = next((path for path in _label_files(folder, found) if path.is_file()), None)
        labels = {}
        if file is not None:
            used.add(file)
            labels = dict.fromkeys(_classes(file, named.names, problems), PRESENT)
        export.images.append(LabelledImage(name, labels, str(file or found), split))
    if not used:
        problems.stop(folder, f"none of {len(images)} images has a label file (labels/NAME.txt, or beside the image)")
    homes = {path.parent for path in used}
    orphans = sorted(path for home in homes for path in home.glob("*.txt") if path not in used and _is_label(path))
    if options.missing == "error":
        for path in orphans:
            problems.add(path, "no image belongs to this label file; --set images=FOLDER or missing=left-out")
    elif orphans:
        export.notes.append(f"{len(orphans)} label files belong to no image and are passed over")
    without = len(images) - len(used)
    export.notes += [f"class names: {named.file.relative_to(folder)}", f"{len(used)} label files"]
    export.notes += [f"{without} images have no label file: taken as images without an object"] if without else []
    return export


def _yamls(folder: Path) -> list[Path]:
    return sorted({*folder.glob("*.yaml"), *folder.glob("*.yml")})


def _has_label(folder: Path) -> bool:
    return any(_is_label(path) for path in folder.rglob("*.txt"))


def _is_label(path: Path) -> bool:
    words = beginning(path).split(b"\n", 1)[0].split()
    return len(words) >= 5 and all(_number(word.decode(errors="replace")) is not None for word in words)


def _number(word: str) -> float | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


# --- names of classes and splits


def _named(folder: Path, problems: Problems) -> _Named:
    for path in _yamls(folder):
        if b"names:" in beginning(path) or b"nc:" in beginning(path):
            return _of_yaml(path, problems)
    for name in CLASS_FILES:
        if (folder / name).is_file():
            names = dict(enumerate(line for _, line in read_lines(folder / name, problems)))
            return _Named(folder / name, names, _of_darknet(folder, problems))
    problems.stop(folder, f"no class names: expected data.yaml with `names`, or {', '.join(CLASS_FILES)}")


def _of_yaml(path: Path, problems: Problems) -> _Named:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    text = read_text(path, problems)
    if len(text) > MOST_YAML:
        problems.stop(path, f"{len(text)} characters, allowed: {MOST_YAML}")
    try:
        content = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, RecursionError) as error:
        problems.stop(path, f"not valid YAML: {str(error).splitlines()[0]}")
    given = content.get("names") if isinstance(content, dict) else None
    names = dict(enumerate(given)) if isinstance(given, list) else given
    if not isinstance(names, dict) or not names or not all(isinstance(key, int) for key in names):
        problems.stop(path, "names: allowed: a list of class names, or an object with their numbers")
    splits: dict[str, list[str]] = {}
    for key, split in SPLIT_KEYS.items():
        value = content.get(key)
        paths = value if isinstance(value, list) else [value] if value else []
        if not all(isinstance(one, str) for one in paths):
            problems.stop(path, f"{key}: given {str(value)[:80]!r}, allowed: a path, or a list of paths")
        if paths:
            splits[split] = [*splits.get(split, []), *paths]
    return _Named(path, {key: str(name) for key, name in names.items()}, splits)


def _of_darknet(folder: Path, problems: Problems) -> dict[str, list[str]]:
    path = folder / "obj.data"
    pairs: dict[str, str] = {}
    if path.is_file():
        for _, line in read_lines(path, problems):
            key, _, value = line.partition("=")
            pairs[key.strip()] = value.strip()
    return {split: [pairs[key]] for key, split in SPLIT_KEYS.items() if pairs.get(key)}


# --- images and labels


def _images(folder: Path, named: _Named, finder: ImageFinder, problems: Problems) -> Iterator[tuple[str, str | None]]:
    """Yield name and split of each image."""
    if not named.splits:
        for file in sorted(finder.files):
            yield file, split_of_folder(Path(file))
        return
    for split, paths in named.splits.items():
        for given in paths:
            place = _inside(folder, given) or _inside(finder.folder, given)
            if place is None and split == "test":
                continue  # Ultralytics lists it whether it is there or not
            if place is None:
                problems.add(named.file, f"{split}: {given!r} is not below {folder}")
            elif place.is_dir():
                home = "" if place in (folder, finder.folder) else f"{_below(place, folder, finder.folder)}/"
                yield from ((file, split) for file in sorted(finder.files) if file.startswith(home))
            else:
                for _, line in read_lines(place, problems):
                    yield _plain(line), split


def _below(place: Path, *homes: Path) -> str:
    return next(place.relative_to(home).as_posix() for home in homes if place.is_relative_to(home))


def _plain(line: str) -> str:
    return "/".join(part for part in PurePosixPath(line.replace("\\", "/")).parts if part not in (".", "..", "/"))


def _inside(folder: Path, given: str) -> Path | None:
    """Return the path in the folder: exporters write others of their own in front, such as `../` or `/content/`."""
    parts = PurePosixPath(_plain(given)).parts
    paths = (folder.joinpath(*parts[start:]) for start in range(max(1, len(parts))))
    return next((path for path in paths if path.exists()), None)


def _label_files(folder: Path, image: str) -> Iterator[Path]:
    """Yield where the labels of an image may stand: in `labels` in place of `images`, beside it, or in `labels`."""
    path = PurePosixPath(image).with_suffix(".txt")
    places = [place for place, part in enumerate(path.parts) if part == "images"]
    for place in reversed(places):
        yield folder.joinpath(*path.parts[:place], "labels", *path.parts[place + 1 :])
    yield folder / path
    yield folder / "labels" / path


def _classes(file: Path, names: dict[int, str], problems: Problems) -> Iterator[Any]:
    for line, text in read_lines(file, problems):
        numbers = [_number(word) for word in text.split()]
        if len(numbers) < 5 or None in numbers:
            problems.add(f"{file}:{line}", f"given {text[:80]!r}, allowed: the number of a class and 4 or more others")
        elif numbers[0] not in names:
            known = f"{len(names)} classes, {min(names)} to {max(names)}"
            problems.add(f"{file}:{line}", f"class {text.split()[0]}, but there are {known}")
        else:
            yield names[int(numbers[0] or 0)]


FORMAT = Format("yolo", "YOLO (a text file per image)", ObjectOptions, recognise, read)
