"""CVAT's own format "CVAT for images 1.1": one XML file with an element per image, and in it one per object or tag."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element

from clsim.data.importers.contract import PRESENT, Export, Format, LabelledImage, ObjectOptions
from clsim.data.importers.reading import beginning, read_xml
from clsim.data.problems import Problems
from clsim.errors import did_you_mean

OBJECTS = ("box", "cuboid", "ellipse", "mask", "points", "polygon", "polyline", "skeleton", "tag")


def recognise(folder: Path) -> bool:
    """Return whether an XML file in a folder begins as CVAT's do."""
    return any(b"<annotations>" in beginning(path) for path in folder.glob("*.xml"))


def read(folder: Path, options: ObjectOptions, problems: Problems) -> Export:
    """Read all XML files of CVAT in a folder; subsets are splits, or else files, where there are several."""
    files = [path for path in sorted(folder.glob("*.xml")) if b"<annotations>" in beginning(path)]
    if not files:
        problems.stop(folder, "no XML file whose first element is <annotations>; export as CVAT for images 1.1")
    export = Export([], [])
    names: dict[str, None] = {}
    for path in files:
        root = read_xml(path, problems)
        if root.find("track") is not None:
            problems.add(path, "has <track> elements, which are those of a video; export as CVAT for images 1.1")
            continue
        declared = _declared(root)
        for image in root.iterfind("image"):
            read_image = _image(path, image, declared, problems)
            if read_image is not None:
                if read_image.split is None and len(files) > 1:
                    read_image.split = path.stem
                export.images.append(read_image)
                names.update(dict.fromkeys([*declared, *read_image.labels]))
    export.class_names = list(names)
    export.notes.append(f"files: {', '.join(path.name for path in files)}")
    export.notes.append("a class is present where an object or a tag has its label; attributes are passed over")
    return export


def _declared(root: Element) -> list[str]:
    """Return the labels that the file declares, without those of the points of a skeleton."""
    labels = [label for label in root.iterfind("./meta//label") if label.find("parent") is None]
    return [name for label in labels if (name := (label.findtext("name") or "").strip())]


def _image(path: Path, element: Element, declared: list[str], problems: Problems) -> LabelledImage | None:
    name = (element.get("name") or "").strip()
    if not name:
        problems.add(path, f"<image id={element.get('id')!r}> has no name")
        return None
    where = f"{path}, image {name!r}"
    labels = {}
    for part in element:
        label = (part.get("label") or "").strip()
        if part.tag not in OBJECTS:
            problems.add(where, f"element <{part.tag}> is not known; allowed: {', '.join(OBJECTS)}")
        elif not label:
            problems.add(where, f"<{part.tag}> has no label")
        elif declared and label not in declared:
            problems.add(where, f"label {label!r} is not declared in <meta>{did_you_mean(label, declared)}")
        else:
            labels[label] = PRESENT
    return LabelledImage(name, labels, where, element.get("subset") or None)


FORMAT = Format("cvat", "CVAT for images 1.1 (XML)", ObjectOptions, recognise, read)
