"""Formats that datumaro reads: its process answers with the images and classes of a data set."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ValidationError

from clsim.data.folder import SUFFIXES
from clsim.data.importers import datumaro_reader
from clsim.data.importers.contract import PRESENT, Export, Format, LabelledImage, ObjectOptions
from clsim.data.problems import Problems
from clsim.errors import ClsimError, did_you_mean

INSTALLATION = "python3 -m venv datumaro && datumaro/bin/pip install datumaro==1.13.12"
"""The command that makes the environment; its Python is then datumaro/bin/python."""
DEFAULT_SPLIT = "default"
"""What datumaro calls the images of a data set without splits."""


class _Image(BaseModel, strict=True):
    name: str
    id: str
    split: str | None
    labels: list[str]


class _Answer(BaseModel, strict=True):
    """What `datumaro_reader` writes; `formats` alone where the format is not known."""

    version: str = ""
    classes: list[str] = []
    images: list[_Image] = []
    left_out: dict[str, int] = {}
    problems: list[str] = []
    formats: list[str] = []


def datumaro_format(name: str, python: str | None) -> Format:
    """Return a format of datumaro's, by its name there.

    Args:
        name: such as voc, kitti or vott_csv.
        python: the Python of an environment with datumaro.

    Raises:
        ClsimError: there is no such Python; with the command that makes one.
    """
    found = None if python is None else shutil.which(os.path.expanduser(python))
    if found is None:
        given = "" if python is None else f"{python}: no such program; "
        raise ClsimError(
            f"{given}--via datumaro needs the Python of an environment of its own: {INSTALLATION}; then "
            "--python datumaro/bin/python"
        )
    read = partial(_read, name=name, python=os.path.abspath(found))
    return Format(name, "by datumaro", ObjectOptions, lambda folder: False, read)


def _read(folder: Path, options: ObjectOptions, problems: Problems, name: str, python: str) -> Export:
    answer = _ask(folder, name, python, problems)
    if answer.formats:
        hint = did_you_mean(name, answer.formats)
        problems.stop("FORMAT", f"given {name!r}, allowed by datumaro: {', '.join(answer.formats)}{hint}")
    for problem in answer.problems:
        problems.add(folder, problem)
    images = [_image(one, folder) for one in answer.images]
    if all(image.split == DEFAULT_SPLIT for image in images):
        for image in images:
            image.split = None
    export = Export(answer.classes, images)
    export.notes.append(f"read by datumaro {answer.version}; a class is present where an annotation has its label")
    export.notes += [f"{count} {what} are left out" for what, count in sorted(answer.left_out.items())]
    return export


def _image(given: _Image, folder: Path) -> LabelledImage:
    """Return an image; where datumaro does not know its file, the id may be that of one with any ending."""
    path = Path(given.name)
    name = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else given.name
    others = tuple(given.id + suffix for suffix in SUFFIXES)
    return LabelledImage(
        name or others[0], dict.fromkeys(given.labels, PRESENT), f"{folder}, image {given.id!r}", given.split, others
    )


def _ask(folder: Path, name: str, python: str, problems: Problems) -> _Answer:
    """Return the answer of datumaro's process; an end without one ends the import with its last line."""
    command = [python, "-I", datumaro_reader.__file__, name, str(folder)]
    try:
        done = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, encoding="utf-8", errors="replace"
        )
    except OSError as error:
        problems.stop(python, f"cannot be started: {error.strerror or error}")
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        advice = f"; {INSTALLATION}" if "No module named 'datumaro'" in lines[-1] else ""
        problems.stop(python, f"cannot read {folder} as {name}: {lines[-1]}{advice}")
    try:
        return _Answer.model_validate_json(done.stdout)
    except ValidationError as error:
        problems.stop(python, f"gave no answer that can be read: {error.errors()[0]['msg']}")
