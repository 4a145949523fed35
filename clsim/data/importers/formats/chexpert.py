"""CheXpert: `train.csv` and `valid.csv`, with 1 present, 0 absent, -1 uncertain and nothing where nothing is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from clsim.data.importers.contract import ABSENT, BLANK, PRESENT, Export, Format, LabelledImage, Options
from clsim.data.importers.reading import beginning
from clsim.data.problems import Problems
from clsim.data.tables import open_table

PATH, VIEW = "Path", "Frontal/Lateral"
OTHERS = (PATH, "Sex", "Age", VIEW, "AP/PA")
NO_FINDING, DEVICES = "No Finding", "Support Devices"
FILES = ("train.csv", "valid.csv", "test.csv")
CELLS = {"1": PRESENT, "1.0": PRESENT, "0": ABSENT, "0.0": ABSENT, "-1": "-1", "-1.0": "-1", "": BLANK}


class ChexpertOptions(Options, frozen=True):
    """Options of CheXpert."""

    uncertain: Literal["unknown", "positive", "negative"] | float = Field(
        "unknown",
        description="what -1 is in training: unknown (U-Ignore), positive (U-Ones), negative (U-Zeros), or a soft "
        "label such as 0.6; an uncertain label of a test image is unknown",
    )
    blank: Literal["unknown", "absent"] = Field(
        "unknown", description="meaning of an empty cell, where a report does not mention the class"
    )
    view: Literal["all", "frontal", "lateral"] = Field("all", description="images of this view only")


def recognise(folder: Path) -> bool:
    """Return whether a folder has a training table of CheXpert."""
    return f"{PATH},Sex,Age,{VIEW}".encode() in beginning(folder / "train.csv").replace(b'"', b"")


def read(folder: Path, options: ChexpertOptions, problems: Problems) -> Export:
    """Read the tables that are there; the name of each is the split."""
    files = [folder / name for name in FILES if (folder / name).is_file()]
    if not files or files[0].name != FILES[0]:
        problems.stop(folder, f"no {FILES[0]}; read are {', '.join(FILES)}")
    export = Export([], [], otherwise=BLANK, dataset=_dataset(options, problems))
    left_out = 0
    for path in files:
        with open_table(path) as table:
            if PATH not in table.columns or VIEW not in table.columns:
                problems.stop(f"{path}:1", f"no columns {PATH!r} and {VIEW!r}; columns: {', '.join(table.columns)}")
            classes = [name for name in table.columns if name not in OTHERS]
            if export.class_names and sorted(classes) != sorted(export.class_names):
                problems.stop(f"{path}:1", f"other classes than in {FILES[0]}: {', '.join(classes)}")
            export.class_names = classes
            for row in table.rows:
                cells = dict(zip(table.columns, (str(cell).strip() for cell in row.cells), strict=True))
                if options.view not in ("all", cells[VIEW].lower()):
                    left_out += 1
                    continue
                wrong = [f"{name!r}: {cells[name]!r}" for name in classes if cells[name] not in CELLS]
                if wrong:
                    problems.add(row.where, f"given {', '.join(wrong)}, allowed: 1, 0, -1 and nothing")
                    continue
                labels = {name: CELLS[cells[name]] for name in classes}
                if options.blank == "absent":
                    labels = {name: label or ABSENT for name, label in labels.items()}
                export.images.append(LabelledImage(cells[PATH], labels, row.where, path.stem))
    if any(image.labels[NO_FINDING] == PRESENT for image in export.images if NO_FINDING in image.labels):
        beside = [DEVICES] if DEVICES in export.class_names else []
        export.dataset["no_finding"] = {"name": NO_FINDING, "beside": beside}
        export.notes.append(f"{NO_FINDING!r} is no class: where it is 1, all but {DEVICES!r} are absent")
    export.notes.append(f"-1, uncertain: {options.uncertain} in training, unknown in testing (--set uncertain=...)")
    export.notes.append(f"empty cells are {options.blank} (--set blank=unknown|absent)")
    if left_out:
        export.notes.append(f"{left_out} images are left out, because their view is not {options.view}")
    return export


def _dataset(options: ChexpertOptions, problems: Problems) -> dict[str, Any]:
    meaning = options.uncertain
    if isinstance(meaning, float):
        if not 0 < meaning < 1:
            problems.stop("uncertain", f"given {meaning:g}, allowed: unknown, positive, negative, or between 0 and 1")
        return {"minus_one": {"uncertain": {"soft": meaning}}, "soft_labels": "unknown"}
    return {"minus_one": "unknown" if meaning == "unknown" else {"uncertain": meaning}}


FORMAT = Format("chexpert", "CheXpert (train.csv, valid.csv)", ChexpertOptions, recognise, read)
