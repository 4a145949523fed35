"""Open Images: image-level labels, one line per image and label, with classes under machine names."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from clsim.data.importers.contract import ABSENT, BLANK, PRESENT, Export, Format, LabelledImage, Options
from clsim.data.importers.reading import beginning, read_text
from clsim.data.openimages_names import DESCRIPTIONS, chosen_classes, display_names
from clsim.data.problems import Problems
from clsim.data.tables import open_table

COLUMNS = ("ImageID", "LabelName", "Confidence")
SPLITS = ("train", "validation", "test")


class OpenImagesOptions(Options, frozen=True):
    """Options of Open Images."""

    only: list[str] | None = Field(None, min_length=1, description="display names of the classes to read; default: all")
    threshold: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="lowest confidence at which a machine-generated label is present; below it is unknown",
    )
    contradiction: Literal["error", "unknown"] = Field(
        "error", description="a class that is verified both as present and as absent in one image"
    )
    suffix: str = Field(".jpg", description="suffix of the image files, which the tables do not contain")


def recognise(folder: Path) -> bool:
    """Return whether a CSV file in a folder has the columns of image-level labels."""
    return bool(_tables(folder))


def read(folder: Path, options: OpenImagesOptions, problems: Problems) -> Export:
    """Read all tables of image-level labels; the first word of each file's name is the split."""
    tables = _tables(folder)
    if not tables:
        problems.stop(folder, f"no CSV file with the columns {', '.join(COLUMNS)}")
    display = display_names((path, read_text(path, problems)) for path in sorted(folder.glob(DESCRIPTIONS)))
    wanted = None if options.only is None else chosen_classes(options.only, display, folder, problems, "only")
    problems.refuse()
    export = Export([], [], otherwise=BLANK)
    images: dict[str, LabelledImage] = {}
    seen: dict[str, None] = {}
    contradicted: set[tuple[str, str]] = set()
    for path in tables:
        split = next((name for name in SPLITS if path.name.lower().startswith(name)), None)
        with open_table(path, COLUMNS) as table:
            for row in table.rows:
                image, machine_name, confidence = (str(cell).strip() for cell in row.cells)
                name = display.get(machine_name, machine_name)
                if wanted is not None and machine_name not in wanted:
                    continue
                label = _label(row.where, confidence, options.threshold, problems)
                seen.setdefault(name)
                one = images.setdefault(image, LabelledImage(image + options.suffix, {}, row.where, split))
                if one.split != split:
                    problems.add(row.where, f"image {image!r} is of split {split!r} here, of {one.split!r} elsewhere")
                before = one.labels.get(name, BLANK)
                one.labels[name] = label or before
                if BLANK not in (before, label) and before != label and (image, name) not in contradicted:
                    contradicted.add((image, name))
                    if options.contradiction == "error":
                        text = f"{name!r} is present and absent in {image!r}; --set contradiction=unknown"
                        problems.add(row.where, text)
    for image, name in contradicted:
        images[image].labels[name] = BLANK
    export.images = list(images.values())
    export.class_names = list(seen)
    export.notes.append(f"files: {', '.join(path.name for path in tables)}")
    export.notes.append("confidence 1 is present, 0 verified as absent; a class that no line names is unknown")
    if contradicted:
        export.notes.append(f"{len(contradicted)} labels are unknown, because lines contradict each other")
    if options.threshold is not None:
        export.notes.append(f"labels of machines are present from {options.threshold:g} on, and else unknown")
    return export


def _tables(folder: Path) -> list[Path]:
    header = b"ImageID,Source,LabelName,Confidence"
    return [path for path in sorted(folder.glob("*.csv")) if _begins_so(beginning(path), header)]


def _begins_so(head: bytes, header: bytes) -> bool:
    """Return whether the first line is the header; tables of boxes have more columns."""
    return head.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0].strip() == header


def _label(where: str, confidence: str, threshold: float | None, problems: Problems) -> str:
    try:
        value = float(confidence)
    except ValueError:
        value = -1.0
    if value in (0, 1):
        return PRESENT if value else ABSENT
    if not 0 < value < 1:
        problems.add(where, f"'Confidence': given {confidence!r}, allowed: 0 to 1")
    elif threshold is None:
        problems.add(where, f"'Confidence': given {confidence!r}, of a machine; --set threshold=0.8 takes such labels")
    elif value >= threshold:
        return PRESENT
    return BLANK


FORMAT = Format("open-images", "Open Images (image-level labels, CSV)", OpenImagesOptions, recognise, read)
