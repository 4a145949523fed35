"""Options of the data set `manifest`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from clsim.data.class_options import SpellingsConfig
from clsim.data.held_out import ShareOfTraining
from clsim.data.image_files import ImageFilesConfig
from clsim.data.label_values import LabelValuesConfig, NoFinding
from clsim.data.path_options import DATA_PATH


def split_name(given: Any) -> str:
    """Return the name of a split as text: 1, "1", 1.0 and "1.0" are "1"; True, "True" and "TRUE" are "true"."""
    name = "" if given is None else str(given).strip()
    if name.lower() in ("true", "false"):
        return name.lower()
    return name.removesuffix(".0") if _WHOLE.fullmatch(name) else name


_WHOLE = re.compile(r"-?[0-9]+\.0")
SplitName = Annotated[
    str,
    BeforeValidator(
        lambda given: split_name(given) if isinstance(given, str | int) else given,
        json_schema_input_type=str | int | bool,
    ),
]
"""The name of a split; in YAML also `1` or `true`."""


class ManifestConfig(LabelValuesConfig, SpellingsConfig, ImageFilesConfig, frozen=True, extra="forbid", strict=True):
    """Options of the data set `manifest`."""

    name: Literal["manifest"] = Field(
        description="your own images, listed in a table (CSV, TSV, JSON Lines or Parquet)"
    )
    file: Annotated[str | None, DATA_PATH] = Field(
        None, description="table of all images, with a column that names the split; relative to the scenario"
    )
    train_file: Annotated[str | None, DATA_PATH] = Field(
        None, description="table of the training images, in place of `file`; relative to the scenario"
    )
    test_file: Annotated[str | None, DATA_PATH] = Field(
        None, description="table of the test images, in place of `file`"
    )
    path_column: str = Field("path", min_length=1, description="column with the paths of the image files")
    image_folder: Annotated[str | None, DATA_PATH] = Field(
        None,
        min_length=1,
        description="folder in which relative paths of images start; default: the folder of the table",
    )
    split_column: str | None = Field(
        None,
        min_length=1,
        description="column of `file` that names the split of an image; default: split, or none if `test` is a share",
    )
    train_splits: list[SplitName] = Field(["train"], min_length=1, description="names of the splits to train on")
    test_splits: list[SplitName] = Field(["test"], min_length=1, description="names of the splits to test on")
    other_splits: list[SplitName] = Field([], description="names of splits whose images are left out")
    test: ShareOfTraining | None = Field(
        None, description="hold out a share of the training images of `file` for testing: {share: 0.2}"
    )
    label_columns: Literal["rest"] | list[str] | None = Field(
        None,
        description="names of the columns with labels, one per class: 1, 0, or empty for unknown; rest: all "
        "columns but path and split",
    )
    other_columns: list[str] = Field([], description="with `label_columns: rest`: further columns that are not classes")
    label_list: str | None = Field(
        None,
        min_length=1,
        description="in place of label_columns: column with the classes that an image shows, as a JSON list or "
        "joined with `separator`",
    )
    separator: str = Field(
        "|", min_length=1, description="text between the classes in label_list; several blanks count as one"
    )
    label_column: str | None = Field(
        None,
        min_length=1,
        description="in place of label_columns: column with one label per row, for a table with one row per image"
        " and label; an image without labels has a row with an empty label",
    )
    confidence_column: str | None = Field(
        None, min_length=1, description="with label_column: column with the confidence of the label, from 0 to 1"
    )
    threshold: float | None = Field(
        None, gt=0, le=1, description="with confidence_column: lowest confidence of a present label; below it is absent"
    )
    counts: Literal["error", "present"] = Field(
        "error", description="meaning of a whole number above 1: an error, or a count of objects (present)"
    )
    empty_list: Literal["absent", "unknown"] = Field(
        "absent",
        description="meaning of an empty label_list or label_column: absent: no class is present; unknown: the "
        "image is not annotated",
    )
    vocabulary: list[str] | None = Field(
        None,
        min_length=1,
        description="classes allowed in label_list or label_column; default: all that occur",
    )
    no_finding: Annotated[str, Field(min_length=1)] | NoFinding | None = Field(
        None,
        description='label that means "no class is present", or {name: .., beside: [classes to which it does not '
        "apply]}; it is not a class",
    )
    delimiter: str | None = Field(
        None,
        min_length=1,
        max_length=1,
        description="text between the cells of a CSV file; default: a comma, in .tsv a tab",
    )
    comment: Annotated[str, Field(min_length=1)] | Literal[False] | None = Field(
        None,
        description="start of lines of a CSV file that are skipped; false: no line is skipped; default: lines "
        "that begin with # and have another number of cells than the header",
    )
    encoding: str | None = Field(
        None, min_length=1, description="text encoding of the table, such as latin-1, cp1252, gbk; default: UTF-8"
    )
    suffix: str | None = Field(
        None, pattern=r"^\.[^./\\]+$", description="suffix that is added to image names that lack it, such as .jpg"
    )

    @model_validator(mode="after")
    def _check_form(self) -> ManifestConfig:
        if self.file is None and (self.train_file is None or self.test_file is None):
            raise _misplaced((), "no table is named; allowed: file, or train_file and test_file")
        if self.label_columns is None and self.label_list is None and self.label_column is None:
            raise _misplaced((), "no labels are named; allowed: label_columns, label_list or label_column")
        of_columns = ["label_columns", "other_columns", "minus_one", "soft_labels", "counts"]
        of_rows = ["confidence_column", "threshold"]
        excluded = {
            "file": ["train_file", "test_file"],
            "train_file": ["split_column", "train_splits", "test_splits", "other_splits", "test"],
            "test": ["test_splits"],
            "label_list": [*of_columns, "label_column", *of_rows],
            "label_columns": ["label_column", "separator", "empty_list", "vocabulary", *of_rows],
            "label_column": [*of_columns, "separator"],
        }
        for chosen, others in excluded.items():
            for other in others:
                if getattr(self, chosen) is not None and getattr(self, other) != type(self).model_fields[other].default:
                    raise _misplaced((other,), f"not together with {chosen}")
        if (self.confidence_column is None) != (self.threshold is None):
            raise _misplaced(("threshold",), "confidence_column and threshold go together")
        if isinstance(self.label_columns, list) and self.other_columns:
            raise _misplaced(("other_columns",), "only with label_columns: rest")
        if self.shares and self.split_column is None and (self.other_splits or self.train_splits != ["train"]):
            raise _misplaced(("test",), "with names of splits, but without split_column, which they stand in")
        return self

    @property
    def shares(self) -> bool:
        """Whether test images are a share of the others."""
        return self.test is not None

    @property
    def column_of_split(self) -> str | None:
        """The column that names the split of an image, if there is one."""
        return self.split_column or (None if self.shares else "split")

    @model_validator(mode="after")
    def _check_meaning(self) -> ManifestConfig:
        for key in ("label_columns", "vocabulary"):
            names = getattr(self, key)
            if isinstance(names, list) and (not names or len(set(names)) < len(names)):
                raise _misplaced((key,), "name at least one class, and none twice")
        splits = [*self.train_splits, *([] if self.shares else self.test_splits), *self.other_splits]
        if len(set(splits)) < len(splits):
            raise _misplaced(("test_splits",), "a split is named twice in train_splits, test_splits and other_splits")
        listed = [*self._listed_columns(), *self.other_columns]
        columns = [self.path_column, self.column_of_split, self.label_list, self.label_column, *listed]
        columns += [self.confidence_column]
        if twice := [column for column in columns if column and columns.count(column) > 1]:
            raise _misplaced((), f"column {twice[0]!r} has two meanings")
        return self

    def _listed_columns(self) -> list[str]:
        return self.label_columns if isinstance(self.label_columns, list) else []


def _misplaced(below: tuple[str, ...], text: str) -> PydanticCustomError:
    return PydanticCustomError("misplaced", "{text}", {"text": text, "below": below})
