"""Splits by name, one or several joined, for data sets that come divided into some."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from clsim.data.source import Split

SplitName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
SplitNames = Annotated[list[SplitName], Field(min_length=1)]


class ListedSplitsConfig(BaseModel):
    """Options `train` and `test` that name a split or several; `test` may be a share of the training images."""

    if TYPE_CHECKING:  # declared by each data set, in its own place among its options
        train: Any
        test: Any

    @model_validator(mode="after")
    def _each_once(self) -> ListedSplitsConfig:
        sides: tuple[Split, Split] = ("train", "test")
        for side in sides:
            if len(set(names := self.splits(side))) < len(names):
                text = "a split is named twice"
                raise PydanticCustomError("misplaced", "{text}", {"text": text, "below": (side,)})
        return self

    def splits(self, split: Split) -> list[str]:
        """Return the names of the splits of one side; none where test images are a share of the training images."""
        given = self.train if split == "train" else self.test
        return [given] if isinstance(given, str) else given if isinstance(given, list) else []

    def shared_splits(self) -> list[str]:
        """Return the names of the splits that are trained on and tested on, of which lists of ids must choose."""
        return [name for name in self.splits("train") if name in self.splits("test")]


def training_rows(config: ListedSplitsConfig, files: Callable[[Split], list[Path]]) -> NDArray[np.int64] | None:
    """Return the training row of each test image; see `clsim.data.source.SharedSource`.

    Args:
        files: of the images of a side.
    """
    if not config.shared_splits():
        return None
    row_of = {file: row for row, file in enumerate(files("train"))}
    return np.array([row_of.get(file, -1) for file in files("test")], dtype=np.int64)
