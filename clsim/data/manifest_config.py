"""Options of the data set `manifest`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from clsim.data.held_out import ShareOfTraining
from clsim.data.image_files import ImageFilesConfig
from clsim.data.label_values import LabelValuesConfig, NoFinding
from clsim.data.path_options import DATA_PATH


class ManifestConfig(LabelValuesConfig, ImageFilesConfig, frozen=True, extra="forbid", strict=True):
    """Options of the data set `manifest`."""

    name: Literal["manifest"] = Field(description="your own images, listed in a table: CSV, TSV, JSON Lines or Parquet")
    file: Annotated[str | None, DATA_PATH] = Field(
        None, description="table of all images, with a column that names the split; relative to the scenario"
    )
    train_file: Annotated[str | None, DATA_PATH] = Field(
        None, description="table of the training images, instead of `file`; relative to the scenario"
    )
    test_file: Annotated[str | None, DATA_PATH] = Field(None, description="table of the test images, instead of `file`")
    path_column: str = Field("path", min_length=1, description="column of the image files")
    image_folder: Annotated[str | None, DATA_PATH] = Field(
        None, min_length=1, description="where relative paths of images start; default: the folder of their table"
    )
    split_column: str | None = Field(
        None,
        min_length=1,
        description="column of `file` that names the split of an image; default: split, but none with a share",
    )
    train_splits: list[str] = Field(["train"], min_length=1, description="names of the split to train on")
    test_splits: list[str] = Field(["test"], min_length=1, description="names of the split to test on")
    other_splits: list[str] = Field([], description="names of splits whose images are left out")
    test: ShareOfTraining | None = Field(
        None, description="keep a share of the images of `file` (of those to train on) for testing: {share: 0.2}"
    )
    label_columns: Literal["rest"] | list[str] | None = Field(
        None,
        description="one column for each class, with 1, 0 or nothing = unknown: these; rest: all but path and split",
    )
    other_columns: list[str] = Field([], description="with `label_columns: rest`: columns that are no class either")
    label_list: str | None = Field(
        None,
        min_length=1,
        description="instead of label_columns: one column with a list of the classes an image shows, as a JSON list or "
        "joined with `separator`",
    )
    separator: str = Field("|", min_length=1, description="between the classes in label_list")
    empty_list: Literal["absent", "unknown"] = Field(
        "absent", description="what an empty label_list says: no class is present, or nobody looked"
    )
    vocabulary: list[str] | None = Field(
        None, min_length=1, description="the classes that may stand in label_list; default: those that do"
    )
    no_finding: Annotated[str, Field(min_length=1)] | NoFinding | None = Field(
        None,
        description="label that says that no class is present, or {name: .., beside: [classes it says nothing about]}; "
        "it is no class itself",
    )
    delimiter: str | None = Field(
        None, min_length=1, max_length=1, description="between the cells of a CSV file; default: a comma, in .tsv a tab"
    )

    encoding: str | None = Field(
        None, min_length=1, description="of the text of a table, such as latin-1, cp1252, gbk; default: UTF-8"
    )
    suffix: str | None = Field(
        None, pattern=r"^\.[^./\\]+$", description="added to image names that a table gives without it, such as .jpg"
    )

    @model_validator(mode="after")
    def _check_form(self) -> ManifestConfig:
        if self.file is None and (self.train_file is None or self.test_file is None):
            raise _misplaced((), "no table is named; allowed: file, or train_file and test_file")
        if self.label_columns is None and self.label_list is None:
            raise _misplaced((), "no labels are named; allowed: label_columns or label_list")
        excluded = {
            "file": ["train_file", "test_file"],
            "train_file": ["split_column", "train_splits", "test_splits", "other_splits", "test"],
            "test": ["test_splits"],
            "label_list": ["label_columns", "other_columns", "minus_one", "soft_labels"],
            "label_columns": ["separator", "empty_list", "vocabulary"],
        }
        for chosen, others in excluded.items():
            for other in others:
                if getattr(self, chosen) is not None and getattr(self, other) != type(self).model_fields[other].default:
                    raise _misplaced((other,), f"not together with {chosen}")
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
        columns = [self.path_column, self.column_of_split, self.label_list, *listed]
        if twice := [column for column in columns if column and columns.count(column) > 1]:
            raise _misplaced((), f"column {twice[0]!r} has two meanings")
        return self

    def _listed_columns(self) -> list[str]:
        return self.label_columns if isinstance(self.label_columns, list) else []


def _misplaced(below: tuple[str, ...], text: str) -> PydanticCustomError:
    return PydanticCustomError("misplaced", "{text}", {"text": text, "below": below})
