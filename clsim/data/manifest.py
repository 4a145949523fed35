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

import numpy as np
from numpy.typing import NDArray

from clsim.data.image_files import SPLITS, ImageFiles, ImageFilesConfig, nearest_file
from clsim.data.label_cache import Arrays, cached_labels, pack_texts, unpack_texts
from clsim.data.label_values import read_codes
from clsim.data.manifest_column import read_column
from clsim.data.manifest_config import ManifestConfig
from clsim.data.manifest_parser import PARSER_VERSION, folder_of, parse_manifest, tables_of
from clsim.data.source import Split
from clsim.data.table_form import BadTable
from clsim.errors import ClsimError, Unplannable


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
            if labels.max(initial=0) < 1:
                text = f"no class is present in any of the {len(labels)} images of the {split} split"
                hint = "; by dataset.soft_labels: {threshold: 0.5} soft labels count" if (codes < -1).any() else ""
                raise Unplannable(("dataset", "label_list" if self.config.label_list else "label_columns"), text + hint)
        return values

    def notes(self) -> list[str]:
        """Return how many rows were joined; see `clsim.data.source.NotingSource`."""
        repeated = int(self._parsed["repeated"][0])
        return [f"rows that repeat another one exactly, and are joined: {repeated}"] if repeated else []

    def files(self, split: Split) -> list[Path]:
        """Path of each image, in the order of `labels`; they need not exist."""
        return [Path(file) for file in unpack_texts(self._parsed[f"{split}_files"])]

    def column(self, split: Split, name: str) -> list[str]:
        """Values of a column that is no label; see `clsim.data.source.ColumnSource`."""
        key = ("stream", "domains")
        rest = self.config.label_columns == "rest" and name not in self.config.other_columns
        if rest or name in (self.config.label_columns or ()):
            text = f"column {name!r} is read as a class"
            raise Unplannable(key, text + "; list it under dataset.other_columns" if rest else text)
        files = unpack_texts(self._parsed[f"{split}_files"])
        options = self.config.model_dump_json(exclude=ImageFilesConfig.model_fields.keys() - {"name"})
        tables = [one.file for one in tables_of(self.config)]

        def parse() -> Arrays:
            return {"values": pack_texts(read_column(self.config, split, name, files))}

        try:
            return unpack_texts(
                cached_labels(("manifest column", PARSER_VERSION, options, split, name), tables, parse)["values"]
            )
        except BadTable as error:
            raise Unplannable(key, str(error)) from None

    def images_folder(self) -> Path:
        """Where relative paths of the (training) table start."""
        return Path(folder_of(self.config, tables_of(self.config)[0]))

    def missing_images(self, split: Split, missing: Sequence[Path], total: int) -> ClsimError:
        """Names the first missing image, how many are, and the table that lists them."""
        (given,) = [one for one in tables_of(self.config) if one.split in (split, None)]
        few = f"{len(missing)} of {total} images of {split} are missing"
        start = folder_of(self.config, given)
        text = f"{missing[0]}: no such file ({few}); {given.file} lists it, and relative paths start at {start}"
        text += nearest_file(missing[0])
        return Unplannable(("dataset", given.key), text)

    @cached_property
    def _parsed(self) -> Arrays:
        given = tables_of(self.config)
        for one in given:
            if not os.path.isfile(one.file):
                raise Unplannable(("dataset", one.key), f"{one.file}: no such file{nearest_file(one.file)}")
        options = self.config.model_dump_json(exclude=ImageFilesConfig.model_fields.keys() - {"name"})
        identity = ("manifest", PARSER_VERSION, options)
        return cached_labels(identity, [one.file for one in given], lambda: parse_manifest(self.config))
