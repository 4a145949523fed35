"""One folder per class: the layout of the data set `folder`, as a table that can be edited and added to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import Field

from clsim.data.folder import Folder, FolderConfig
from clsim.data.image_files import SPLITS
from clsim.data.importers.contract import PRESENT, Export, Format, LabelledImage, Options
from clsim.data.importers.reading import TRAIN_OR_TEST
from clsim.data.problems import Problems
from clsim.errors import Unplannable

SHARE = {"share": 0.2}


class FolderOptions(Options, frozen=True):
    """Options of folders."""

    no_finding: str | None = Field(None, description="folder whose images show no class")


def recognise(folder: Path) -> bool:
    """Return False: `clsim init` reads this layout without an import."""
    return False


def read(folder: Path, options: FolderOptions, problems: Problems) -> Export:
    """Read the folders through the data set `folder`, with its rules for images of several classes."""
    from clsim.data.recognise import train_and_test

    below = sorted(path.name for path in folder.iterdir() if path.is_dir())
    pair = train_and_test([name for name in below if TRAIN_OR_TEST.fullmatch(name)], exactly=True)
    splits = {"test": SHARE} if pair is None else {"train": pair[0], "test": pair[1] or SHARE}
    nothing = {} if options.no_finding is None else {"no_finding": options.no_finding}
    source = Folder(FolderConfig.model_validate({"name": "folder", "root": str(folder), **splits, **nothing}))
    export = Export([], [])
    try:
        export.class_names = source.class_names
        for split in SPLITS:
            for file, row in zip(source.files(split), source.labels(split), strict=True):
                shown = {source.class_names[column]: PRESENT for column in np.flatnonzero(row == 1)}
                export.images.append(LabelledImage(file.relative_to(folder).as_posix(), shown, str(file), split))
    except Unplannable as error:
        problems.stop(".".join(error.path), error.text)
    used = "" if pair is None else f", of {pair[0]} and {pair[1] or 'a share of it'}"
    export.notes.append(f"one class per folder{used}; equal files of one name in several folders are one image")
    return export


FORMAT = Format("folder", "one folder per class", FolderOptions, recognise, read)
