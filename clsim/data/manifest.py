"""Own images without code: a table of image paths and labels, in CSV, TSV, JSON Lines or Parquet.

    path,split,cat,dog          path,split,tags             {"path": "a.jpg", "split": "train", "tags": ["cat", "dog"]}
    a.jpg,train,1,0             a.jpg,train,cat|dog         {"path": "b.jpg", "split": "test", "tags": []}
    b.jpg,test,,1               b.jpg,test,

With a column for each class a cell is 1 present, 0 absent or empty = unknown. With one column of lists a class is
present or absent, because a list has no place for what is not known.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from clsim.data.held_out import ShareOfTraining
from clsim.data.image_files import SPLITS, ImageFiles, ImageFilesConfig
from clsim.data.label_cache import Arrays, cached_labels, unpack_texts
from clsim.data.label_values import LabelValuesConfig, NoFinding, read_codes
from clsim.data.manifest_parser import PARSER_VERSION, folder_of, parse_manifest, tables_of
from clsim.data.path_options import DATA_PATH
from clsim.data.source import Split
from clsim.errors import ClsimError, Unplannable, did_you_mean


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


class Manifest(ImageFiles):
    """The data set `manifest` as an `ImageSource`. Rows follow the table, columns the alphabet of class names."""

    Options = ManifestConfig

    def __init__(self, config: ManifestConfig) -> None:
        super().__init__(config)
        self.config = config

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, alphabetical."""
        return tuple(unpack_texts(self._parsed["class_names"]))

    def annotations(self, split: Split) -> NDArray[np.int8]:
        """True labels, int8 [N, C]: 1 present, 0 absent, -1 unknown; read-only.

        Raises:
            Unplannable: a table is not there, cannot be read or says something that cannot be; with file and line.
        """
        return self._values[split][0]

    def soft_labels(self, split: Split) -> NDArray[np.float32] | None:
        """Soft labels of a split; see `clsim.data.source.SoftSource`."""
        return self._values[split][1]

    @cached_property
    def _values(self) -> dict[Split, tuple[NDArray[np.int8], NDArray[np.float32] | None]]:
        """Labels and soft labels of each split."""
        values: dict[Split, tuple[NDArray[np.int8], NDArray[np.float32] | None]] = {}
        for split in SPLITS:
            codes = self._parsed[split]
            values[split] = labels, _ = read_codes(codes, self._parsed[f"{split}_soft"], self.config, split)
            if not (labels == 1).any():
                text = f"no class is present in any of the {len(labels)} images of the {split} split"
                hint = "; by dataset.soft_labels: {threshold: 0.5} soft labels count" if (codes < -1).any() else ""
                raise Unplannable(("dataset", "label_list" if self.config.label_list else "label_columns"), text + hint)
        return values

    def files(self, split: Split) -> list[Path]:
        """Path of each image, in the order of `labels`; they need not exist."""
        return [Path(file) for file in unpack_texts(self._parsed[f"{split}_files"])]

    def images_folder(self) -> Path:
        """Where relative paths of the (training) table start."""
        return Path(folder_of(self.config, tables_of(self.config)[0]))

    def missing_images(self, split: Split, missing: Sequence[Path], total: int) -> ClsimError:
        """Names the first missing image, how many are, and the table that lists them."""
        (given,) = [one for one in tables_of(self.config) if one.split in (split, None)]
        few = f"{len(missing)} of {total} images of {split} are missing"
        start = folder_of(self.config, given)
        text = f"{missing[0]}: no such file ({few}); {given.file} lists it, and relative paths start at {start}"
        return Unplannable(("dataset", given.key), text)

    @cached_property
    def _parsed(self) -> Arrays:
        given = tables_of(self.config)
        for one in given:
            if not os.path.isfile(one.file):
                raise Unplannable(("dataset", one.key), f"{one.file}: no such file{_nearest_file(one.file)}")
        options = self.config.model_dump_json(exclude=ImageFilesConfig.model_fields.keys() - {"name"})
        identity = ("manifest", PARSER_VERSION, options)
        return cached_labels(identity, [one.file for one in given], lambda: parse_manifest(self.config))


def _nearest_file(file: Path) -> str:
    """The file in the same folder that was perhaps meant."""
    folder = file.parent
    return did_you_mean(file.name, sorted(path.name for path in folder.iterdir()) if os.path.isdir(folder) else ())
