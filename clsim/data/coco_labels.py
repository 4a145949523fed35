"""Labels of the images of a COCO file, or of several."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class CocoLabels(NamedTuple):
    """The labelled images of one annotation file, or of several, by ascending image id."""

    class_names: tuple[str, ...]  # the C classes, alphabetical: the order of the published protocols
    ids: NDArray[np.int64]  # [N] image ids
    files: list[str]  # file name of each image, relative to the folder of its split; absolute if several are joined
    labels: NDArray[np.int8]  # [N, C], 1 present, 0 absent
    idle: tuple[str, ...] = ()  # super-categories and background among the classes that no image shows

    def of(self, rows: NDArray[np.int64]) -> CocoLabels:
        """Those of some rows, int64 [n], ascending."""
        labels = np.ascontiguousarray(self.labels[rows])
        labels.flags.writeable = False
        return self._replace(ids=self.ids[rows], files=[self.files[row] for row in rows.tolist()], labels=labels)

    def without(self, names: Container[str]) -> CocoLabels:
        """Return these labels without the columns of some classes."""
        kept = [column for column, name in enumerate(self.class_names) if name not in names]
        if len(kept) == len(self.class_names):
            return self
        labels = np.ascontiguousarray(self.labels[:, kept])
        labels.flags.writeable = False
        return self._replace(class_names=tuple(self.class_names[column] for column in kept), labels=labels)

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
        return self._replace(class_names=tuple(names), labels=labels)


def joined(parts: Sequence[CocoLabels]) -> CocoLabels:
    """Return the labels of several files of the same classes, whose image ids differ, as one."""
    ids = np.concatenate([part.ids for part in parts])
    files = [file for part in parts for file in part.files]
    whole = parts[0]._replace(ids=ids, files=files, labels=np.concatenate([part.labels for part in parts]))
    return whole.of(np.argsort(ids, kind="stable"))
