"""Labels of the images of a COCO file."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class CocoLabels(NamedTuple):
    """The labelled images of one annotation file, by ascending image id."""

    class_names: tuple[str, ...]  # the C classes, alphabetical: the order of the published protocols
    ids: NDArray[np.int64]  # [N] image ids
    files: list[str]  # file name of each image, relative to the folder of its split
    labels: NDArray[np.int8]  # [N, C], 1 present, 0 absent

    def of(self, rows: NDArray[np.int64]) -> CocoLabels:
        """Those of some rows, int64 [n], ascending."""
        labels = np.ascontiguousarray(self.labels[rows])
        labels.flags.writeable = False
        return CocoLabels(self.class_names, self.ids[rows], [self.files[row] for row in rows.tolist()], labels)

    def unused(self) -> list[str]:
        """Return the classes that no image shows."""
        shown = (self.labels == 1).any(axis=0)
        return [name for name, there in zip(self.class_names, shown.tolist(), strict=True) if not there]

    def with_columns(self, names: Sequence[str], unused: Container[str]) -> CocoLabels:
        """Return these labels with the columns `names` if all classes gained and lost are unused; else as they are."""
        if not all(name in unused for name in {*names} ^ {*self.class_names}):
            return self
        labels = np.zeros((len(self.ids), len(names)), dtype=np.int8)
        for column, name in enumerate(names):
            if name in self.class_names:
                labels[:, column] = self.labels[:, self.class_names.index(name)]
        labels.flags.writeable = False
        return CocoLabels(tuple(names), self.ids, self.files, labels)
