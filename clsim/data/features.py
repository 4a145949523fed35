"""Features in place of images: text, audio, EEG, or what a backbone of your own has computed, as NumPy arrays.

np.savez("x.npz", train_x=..., train_y=..., test_x=..., test_y=..., class_names=[...])
np.savez("x.npz", x=..., y=..., split=["train", ...], class_names=[...])     # or without split: a share for testing
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from clsim.data.held_out import ShareOfTraining, split_rows
from clsim.data.image_files import SPLITS
from clsim.data.label_cache import cached_labels
from clsim.data.label_values import SOFT, LabelValuesConfig, read_codes
from clsim.data.path_options import DATA_PATH
from clsim.data.problems import MOST_SHOWN, Problems
from clsim.data.source import Split
from clsim.errors import ScenarioError, Unplannable, did_you_mean
from clsim.opening import refuse_flood

KEYS = ("train_x", "train_y", "test_x", "test_y", "x", "y", "split", "class_names")


class FeaturesConfig(LabelValuesConfig, frozen=True, extra="forbid", strict=True):
    """Options of the data set `features`."""

    name: Literal["features"] = Field(description="features with labels as NumPy arrays (.npz), in place of images")
    file: Annotated[str | None, DATA_PATH] = Field(
        None,
        min_length=1,
        description="file with the arrays train_x, train_y, test_x, test_y, or x, y and split; class_names is "
        "optional; relative to the scenario",
    )
    test: ShareOfTraining | None = Field(
        None, description="hold out a share of x and y for testing: {share: 0.2}; default: the file contains the split"
    )


class Features:
    """The data set `features`: an `ImageSource` without images. Rows and columns follow the arrays.

    x is float [N, d]. y is [N, C] with 1 present, 0 absent, NaN unknown, -1 as `minus_one` says, values between 0 and 1
    as `soft_labels` says; or int [N], the one class of each row.
    """

    Options = FeaturesConfig

    def __init__(self, config: FeaturesConfig) -> None:
        self.config = config

    @property
    def class_names(self) -> tuple[str, ...]:
        """`class_names` of the file; without them 0, 1, ..., in digits enough to be in alphabetical order."""
        return self._names

    def labels(self, split: Split) -> NDArray[np.int8]:
        """True labels, int8 [N, C]: 1 present, 0 absent, -1 unknown; read-only.

        Raises:
            Unplannable: the file is not there, or an array of it cannot be; with file and key.
        """
        return self._labels[split][0]

    def soft_labels(self, split: Split) -> NDArray[np.float32] | None:
        """Soft labels of a split; see `clsim.data.source.SoftSource`."""
        return self._labels[split][1]

    def features(self, split: Split) -> NDArray[np.float32]:
        """Features, float32 [N, d], in the order of `labels`; read-only."""
        return self._features[split]

    def image_names(self, split: Split) -> list[str]:
        """Row of each entry in its array."""
        return list(map(str, self._rows[split].tolist()))

    def images(self, split: Split, size: int) -> NDArray[np.uint8]:
        """Raise ScenarioError: there are none."""
        raise ScenarioError([f"{self._file}: features, which are no images"])

    def check_size(self, size: int) -> None:
        """Read the features once; they have no size in pixels."""
        self.features("train")

    def fingerprint(self) -> str:
        """SHA-256 of the file and of what is left out of it."""
        arrays = cached_labels(("features", 1, str(self._file)), [self._file], self._digest)
        return hashlib.sha256(f"{arrays['digest'].tobytes().hex()} {self.config.test!r}".encode()).hexdigest()

    # --- the file

    @cached_property
    def _file(self) -> Path:
        if self.config.file is None:
            raise _problem("not set: a file of NumPy arrays (.npz); give --set dataset.file=FILE")
        file = Path(os.path.abspath(self.config.file))
        if not os.path.isfile(file):
            near = sorted(path.name for path in file.parent.iterdir()) if os.path.isdir(file.parent) else []
            raise _problem(f"{file}: no such file{did_you_mean(file.name, near)}")
        return file

    def _digest(self) -> dict[str, NDArray[np.uint8]]:
        with self._file.open("rb") as file:
            return {"digest": np.frombuffer(hashlib.file_digest(file, "sha256").digest(), dtype=np.uint8)}

    @cached_property
    def _keys(self) -> tuple[str, ...]:
        """Names of the arrays in the file, checked to be one of the two forms."""
        with self._opened() as content:
            keys = tuple(content.files)
        known = [key for key in keys if key in KEYS]
        whole, halves = {"x", "y"} <= set(keys), {"train_x", "train_y", "test_x", "test_y"} <= set(keys)
        if whole == halves:
            there = ", ".join(keys) or "none"
            hint = next((near for key in keys if key not in KEYS and (near := did_you_mean(key, KEYS))), "")
            problem = "holds both forms" if whole else f"arrays there: {there}{hint}"
            raise _problem(f"{self._file}: {problem}; needed: train_x, train_y, test_x and test_y, or x and y")
        if halves and self.config.test is not None:
            raise _problem(f"{self._file}: has test_x and test_y already", "test")
        if whole and ("split" in known) == (self.config.test is not None):
            text = "has an array 'split' already" if "split" in known else "has no array 'split'"
            hint = "" if "split" in known else "; give --set 'dataset.test={share: 0.2}'"
            raise _problem(f"{self._file}: {text}{hint}", "test" if "split" in known else "file")
        return keys

    def _opened(self) -> Any:
        try:
            if zipfile.is_zipfile(self._file):
                refuse_flood(self._file)
            content = np.load(self._file, allow_pickle=False)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise _problem(f"{self._file}: not a file of NumPy arrays (.npz): {error}") from None
        if not isinstance(content, np.lib.npyio.NpzFile):
            raise _problem(f"{self._file}: a single array, expected several (np.savez)")
        return content

    def _array(self, key: str) -> NDArray[Any]:
        with self._opened() as content:
            try:
                array: NDArray[Any] = content[key]
            except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
                reason = "Python objects, which are not loaded" if "pickle" in str(error) else error
                raise _problem(f"{self._file}: {key}: cannot be read: {reason}") from None
        return array

    @property
    def _whole(self) -> bool:
        return "x" in self._keys

    # --- labels

    @cached_property
    def _given(self) -> dict[str, NDArray[Any]]:
        """The arrays of labels by their key."""
        given = {key: self._array(key) for key in (["y"] if self._whole else ["train_y", "test_y"])}
        for key, y in given.items():
            if not ((y.ndim == 2 and y.dtype.kind in "biuf") or (y.ndim == 1 and y.dtype.kind in "iu")):
                raise _problem(f"{self._file}: {key}: given {_kind(y)}, allowed: numbers [N, C], or whole numbers [N]")
        return given

    @cached_property
    def _names(self) -> tuple[str, ...]:
        if "class_names" not in self._keys:
            width = max(y.shape[1] if y.ndim == 2 else int(y.max(initial=-1)) + 1 for y in self._given.values())
            return tuple(f"{column:0{len(str(width - 1))}d}" for column in range(width))
        named = self._array("class_names")
        if named.ndim != 1 or named.dtype.kind != "U" or len(set(named.tolist())) < len(named):
            raise _problem(f"{self._file}: class_names: given {_kind(named)}, allowed: different texts [C]")
        return tuple(named.tolist())

    @cached_property
    def _codes(self) -> dict[str, tuple[NDArray[np.int8], NDArray[np.float32]]]:
        """Codes and soft values, as in `read_codes`, by the key of their array."""
        return {key: self._coded(key, y) for key, y in self._given.items()}

    def _coded(self, key: str, y: NDArray[Any]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        width = len(self._names)
        if y.ndim == 1:
            if (wrong := np.flatnonzero((y < 0) | (y >= width))).size:
                raise _problem(f"{self._file}: {key}[{wrong[0]}]: given {y[wrong[0]]}, allowed: 0 to {width - 1}")
            return (y[:, None] == np.arange(width)).astype(np.int8), np.empty(0, dtype=np.float32)
        if y.shape[1] != width:
            raise _problem(f"{self._file}: {key}: {y.shape[1]} columns, expected {width}, one for each class")
        values = y.astype(np.float32)
        minus_one, soft = self.config.code_of_minus_one, (values > 0) & (values < 1)
        codes = np.full(y.shape, -128, dtype=np.int8)
        codes[values == 0], codes[values == 1], codes[np.isnan(values)] = 0, 1, -1
        if minus_one is not None:
            codes[values == -1] = minus_one
        if self.config.soft_labels is not None:
            codes[soft] = SOFT
        if (unread := np.argwhere(codes == -128)).size:
            problems = Problems()
            problems.extend(len(unread), [self._wrong(key, y, *at) for at in unread[:MOST_SHOWN].tolist()])
            problems.refuse("file")
        return codes, values[codes == SOFT]

    def _wrong(self, key: str, y: NDArray[Any], row: int, column: int) -> str:
        value = y[row, column]
        hint = ""
        if value == -1:
            hint = "; dataset.minus_one says what -1 means"
        elif 0 < value < 1:
            hint = "; soft labels need dataset.soft_labels: unknown or {threshold: 0.5}"
        return f"{self._file}: {key}[{row}, {column}]: given {value}, allowed: 1 present, 0 absent, NaN unknown{hint}"

    @cached_property
    def _labels(self) -> dict[Split, tuple[NDArray[np.int8], NDArray[np.float32] | None]]:
        labels: dict[Split, tuple[NDArray[np.int8], NDArray[np.float32] | None]] = {}
        for split in SPLITS:
            codes, soft = self._codes["y" if self._whole else f"{split}_y"]
            rows = self._rows[split]
            chosen = np.isin(np.nonzero(codes == SOFT)[0], rows)
            labels[split] = read_codes(codes[rows], soft[chosen], self.config, split)
            if not (labels[split][0] == 1).any():
                raise _problem(f"{self._file}: no class is present in any of the {len(rows)} rows of {split}")
        return labels

    @cached_property
    def _rows(self) -> dict[Split, NDArray[np.int64]]:
        """Rows of the arrays that are in each split, ascending."""
        if not self._whole:
            return {split: np.arange(len(self._codes[f"{split}_y"][0])) for split in SPLITS}
        codes, _ = self._codes["y"]
        if self.config.test is not None:
            return dict(zip(SPLITS, split_rows(codes, self.config.test), strict=True))
        names = self._array("split")
        if names.shape != (len(codes),) or names.dtype.kind != "U":
            raise _problem(f"{self._file}: split: given {_kind(names)}, allowed: texts [{len(codes)}]")
        if (wrong := np.flatnonzero(~np.isin(names, SPLITS))).size:
            raise _problem(f"{self._file}: split[{wrong[0]}]: given {str(names[wrong[0]])!r}, allowed: train, test")
        return {split: np.flatnonzero(names == split).astype(np.int64) for split in SPLITS}

    # --- features

    @cached_property
    def _features(self) -> dict[Split, NDArray[np.float32]]:
        features: dict[Split, NDArray[np.float32]] = {}
        arrays: dict[str, NDArray[np.float32]] = {}
        for split in SPLITS:
            key = "x" if self._whole else f"{split}_x"
            if key not in arrays:
                arrays[key] = self._checked(key, len(self._codes[key.replace("x", "y")][0]))
            features[split] = arrays[key][self._rows[split]] if self._whole else arrays[key]
            features[split].flags.writeable = False
        widths = {split: features[split].shape[1] for split in SPLITS}
        if widths["train"] != widths["test"]:
            raise _problem(f"{self._file}: train_x has {widths['train']} columns, test_x {widths['test']}")
        return features

    def _checked(self, key: str, n_rows: int) -> NDArray[np.float32]:
        x = self._array(key)
        if x.ndim != 2 or x.dtype.kind != "f" or not x.shape[1]:
            raise _problem(f"{self._file}: {key}: given {_kind(x)}, allowed: floating point numbers [N, d]")
        if len(x) != n_rows:
            raise _problem(f"{self._file}: {key}: {len(x)} rows, but labels of {n_rows}")
        x = x.astype(np.float32)
        if (wrong := np.flatnonzero(~np.isfinite(x).all(axis=1))).size:
            raise _problem(f"{self._file}: {key}: row {wrong[0]} is not finite ({len(wrong)} rows in all)")
        return x


def _kind(array: NDArray[Any]) -> str:
    return f"{array.dtype} {list(array.shape)}"


def _problem(text: str, key: str = "file") -> Unplannable:
    return Unplannable(("dataset", key), text)
