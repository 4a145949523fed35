"""Roboflow: one folder per split, with a COCO file (`_annotations.coco.json`) or a table (`_classes.csv`) in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clsim.data.coco_forms import CROWD, is_flag, tidied
from clsim.data.importers.contract import PRESENT, Export, Format, LabelledImage, ObjectOptions
from clsim.data.importers.reading import read_json
from clsim.data.problems import Problems
from clsim.data.tables import open_table

COCO, CLASSES = "_annotations.coco.json", "_classes.csv"


def recognise(folder: Path) -> bool:
    """Return whether a folder, or one below, has a table of classes; `clsim init` reads COCO files itself."""
    return bool(_files(folder, CLASSES))


def read(folder: Path, options: ObjectOptions, problems: Problems) -> Export:
    """Read the files of all splits; the folder of a file names the split."""
    coco, classes = _files(folder, COCO), _files(folder, CLASSES)
    if not coco and not classes:
        problems.stop(folder, f"no {COCO} or {CLASSES} in it or in a folder below")
    if coco and classes:
        problems.stop(folder, f"both {COCO} and {CLASSES}; import one of them")
    export = Export([], [])
    names: dict[str, None] = {}
    for path in coco or classes:
        split = path.parent.name if path.parent != folder else None
        read_file = _read_coco if coco else _read_classes
        names.update(dict.fromkeys(read_file(path, split, export, problems)))
    export.class_names = list(names)
    export.notes.append(f"files: {', '.join(path.relative_to(folder).as_posix() for path in coco or classes)}")
    return export


def _files(folder: Path, name: str) -> list[Path]:
    return sorted(path for pattern in (name, f"*/{name}") for path in folder.glob(pattern))


def _image(path: Path, split: str | None, name: str) -> str:
    return name if split is None or name.startswith(f"{split}/") else f"{path.parent.name}/{name}"


def _read_coco(path: Path, split: str | None, export: Export, problems: Problems) -> list[str]:
    content = tidied(read_json(path, problems))
    sections = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in sections):
        problems.stop(path, f"not COCO's format: it needs the lists {', '.join(sections)}")
    of_category = _by_id(path, "categories", "name", content, problems)
    of_image: dict[Any, LabelledImage] = {}
    for key, name in _by_id(path, "images", "file_name", content, problems).items():
        of_image[key] = LabelledImage(_image(path, split, name), {}, f"{path}, image {name!r}", split)
    for number, annotation in enumerate(content["annotations"]):
        where = f"{path}, annotations[{number}]"
        if not isinstance(annotation, dict) or annotation.get("image_id") not in of_image:
            problems.add(where, "image_id is no id of an image")
        elif annotation.get("category_id") not in of_category:
            problems.add(where, f"category_id: {annotation.get('category_id')!r} is no id of a category")
        elif not is_flag(annotation.get("iscrowd")):
            problems.add(where, f"iscrowd: given {annotation['iscrowd']!r}, allowed: 0, 1")
        elif not CROWD[annotation.get("iscrowd")]:
            of_image[annotation["image_id"]].labels[of_category[annotation["category_id"]]] = PRESENT
    export.images += of_image.values()
    return list(of_category.values())


def _by_id(path: Path, section: str, field: str, content: dict[str, Any], problems: Problems) -> dict[Any, str]:
    found: dict[Any, str] = {}
    for number, entry in enumerate(content[section]):
        key = entry.get("id") if isinstance(entry, dict) else None
        value = entry.get(field) if isinstance(entry, dict) else None
        if not isinstance(key, int) or not isinstance(value, str) or not value.strip():
            problems.add(
                path, f"{section}[{number}]: given {str(entry)[:80]!r}, allowed: a number id and a text {field}"
            )
        elif key in found:
            problems.add(path, f"{section}[{number}].id: {key} is there a second time")
        else:
            found[key] = value
    return found


def _read_classes(path: Path, split: str | None, export: Export, problems: Problems) -> list[str]:
    with open_table(path) as table:
        if table.columns[:1] != ("filename",):
            problems.stop(f"{path}:1", f"the first column is {table.columns[0]!r}, not 'filename'")
        classes = table.columns[1:]
        for row in table.rows:
            name, *cells = (str(cell).strip() for cell in row.cells)
            wrong = [f"{one!r}: {cell!r}" for one, cell in zip(classes, cells, strict=True) if cell not in ("0", "1")]
            if wrong or not name:
                problems.add(row.where, f"given {', '.join(wrong) or 'no filename'}, allowed: 1 present, 0 absent")
                continue
            labels = {one: PRESENT for one, cell in zip(classes, cells, strict=True) if cell == PRESENT}
            export.images.append(LabelledImage(_image(path, split, name), labels, row.where, split))
        return list(classes)


FORMAT = Format("roboflow", "Roboflow (COCO, or multi-label _classes.csv, per split)", ObjectOptions, recognise, read)
