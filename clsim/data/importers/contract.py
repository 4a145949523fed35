"""What the reader of an annotation format returns, and its options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from clsim.data.problems import Problems

PRESENT, ABSENT, BLANK = "1", "0", ""
"""Cells of a label in the table that is written."""


class Options(BaseModel, frozen=True, extra="forbid", strict=True):
    """Options of every format."""

    images: str | None = Field(None, min_length=1, description="folder of the images; default: that of the export")
    missing: Literal["error", "left-out", "keep"] = Field(
        "error",
        description="a labelled image whose file is missing: an error, or keep its line because the file is "
        "copied later",
    )
    classes: Literal["used", "all"] = Field(
        "used", description="used leaves out a class that no image shows; all keeps it"
    )
    spellings: Literal["error", "join"] = Field(
        "error",
        description="names that differ in capitals, blanks or invisible characters alone: an error, or one class under "
        "the first of them",
    )


class ObjectOptions(Options, frozen=True):
    """Options of formats that mark objects in images."""

    empty: Literal["absent", "unknown", "left-out"] = Field(
        "absent",
        description="meaning of an annotated image without any object: no class is present, or labels are unknown",
    )


@dataclass
class LabelledImage:
    """One image as an export names it.

    Attributes:
        name: path in the export, with / between folders.
        labels: class name -> "1" present, "0" absent, "" unknown, "-1" uncertain; the others are `Export.otherwise`.
        where: file, and line where there is one.
        split: name of its part of the data set; None: the export does not say.
        other_names: further names under which its file may lie.
    """

    name: str
    labels: dict[str, str]
    where: str
    split: str | None = None
    other_names: tuple[str, ...] = ()


@dataclass
class Export:
    """What the files of an export say.

    Attributes:
        class_names: declared or seen, each once.
        images: in the order of the files.
        otherwise: label of a class that an image does not mention, "0" absent or "" unknown.
        dataset: further keys of the section `dataset`, such as `minus_one`.
        notes: how the files were understood, and what was left out, a line each.
        bare_names: the folders in image names are those of a server, only the last part counts.
    """

    class_names: Sequence[str]
    images: list[LabelledImage]
    otherwise: str = ABSENT
    dataset: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    bare_names: bool = False


@dataclass(frozen=True)
class Format:
    """A format of annotations.

    Attributes:
        name: for `clsim import NAME`.
        description: tool, and form of its files.
        options: class of its options.
        recognise: whether a folder holds such an export; it raises nothing but OSError.
        read: (folder, options, problems) -> what it says. It adds to `problems`, whose owner raises them.
    """

    name: str
    description: str
    options: type[Options]
    recognise: Callable[[Path], bool]
    read: Callable[[Path, Any, Problems], Export]
