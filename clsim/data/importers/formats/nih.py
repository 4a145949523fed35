"""NIH ChestX-ray14: `Data_Entry_2017*.csv` with findings joined by "|", and lists of training and test images."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import Field

from clsim.data.importers.contract import PRESENT, Export, Format, LabelledImage, Options
from clsim.data.importers.reading import beginning, read_lines
from clsim.data.problems import Problems
from clsim.data.tables import open_table

COLUMNS = ("Image Index", "Finding Labels", "Patient ID")
LISTS = {"train_val_list.txt": "train", "test_list.txt": "test"}
NO_FINDING = "No Finding"
MANY = 1000


class NihOptions(Options, frozen=True):
    """Options of ChestX-ray14."""

    test_share: float = Field(
        0.2, gt=0, lt=1, description="share of the patients whose images are used for testing, if there are no lists"
    )


def recognise(folder: Path) -> bool:
    """Return whether a CSV file in a folder has the columns of ChestX-ray14."""
    return bool(_tables(folder))


def read(folder: Path, options: NihOptions, problems: Problems) -> Export:
    """Read the table; without the published lists patients are divided, because a patient has several images."""
    tables = _tables(folder)
    if len(tables) != 1:
        found = ", ".join(path.name for path in tables) or "none"
        problems.stop(folder, f"expected one CSV file with the columns {', '.join(COLUMNS)}; there: {found}")
    listed = _listed(folder, problems)
    export = Export([], [])
    names: dict[str, None] = {}
    patients: dict[str, set[str]] = {}
    with open_table(tables[0], COLUMNS) as table:
        for row in table.rows:
            name, findings, patient = (str(cell).strip() for cell in row.cells)
            labels = [label.strip() for label in findings.split("|")]
            if "" in labels:
                problems.add(row.where, f"'Finding Labels': given {findings!r}, allowed: names joined with |")
                continue
            if NO_FINDING in labels and len(labels) > 1:
                problems.add(row.where, f"'Finding Labels': given {findings!r}: a finding beside {NO_FINDING!r}")
                continue
            split = listed.get(name) if listed else _side(patient, options.test_share)
            if split is None:
                problems.add(row.where, f"image {name!r} is in none of {', '.join(LISTS)}")
                continue
            patients.setdefault(patient, set()).add(split)
            names.update(dict.fromkeys(labels))
            export.images.append(LabelledImage(name, dict.fromkeys(labels, PRESENT), row.where, split))
    if shared := sum(len(splits) > 1 for splits in patients.values()):
        problems.add(folder, f"{shared} patients have images in both lists")
    export.class_names = list(names)
    whose = f"by {' and '.join(LISTS)}" if listed else f"by patients: {options.test_share:g} of them are for testing"
    export.notes += [f"table: {tables[0].name}", f"training and test images {whose}; no patient is in both"]
    if NO_FINDING in names:
        export.dataset["no_finding"] = NO_FINDING
        export.notes.append(f"{NO_FINDING!r} is no class: where it stands all classes are absent")
    return export


def _tables(folder: Path) -> list[Path]:
    header = ",".join(COLUMNS[:2]).encode()
    return [path for path in sorted(folder.glob("*.csv")) if header in beginning(path).replace(b'"', b"")]


def _listed(folder: Path, problems: Problems) -> dict[str, str]:
    """Return the split of each image in the published lists; nothing if neither is there."""
    there = {name: split for name, split in LISTS.items() if (folder / name).is_file()}
    if len(there) == 1:
        problems.stop(folder, f"has {next(iter(there))}; allowed: both of {', '.join(LISTS)}, or neither")
    found: dict[str, str] = {}
    for name, split in there.items():
        for line, image in read_lines(folder / name, problems):
            if found.setdefault(image, split) != split:
                problems.add(f"{folder / name}:{line}", f"image {image!r} is in both lists")
    return found


def _side(patient: str, share: float) -> str:
    """Return the split of a patient; it depends on nothing but the number, so that it is the same in every copy."""
    number = int.from_bytes(hashlib.sha256(patient.encode()).digest()[:8]) % MANY
    return "test" if number < share * MANY else "train"


FORMAT = Format("nih", "NIH ChestX-ray14 (Data_Entry_2017.csv)", NihOptions, recognise, read)
