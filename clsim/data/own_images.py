"""An `ImageSource` of somebody else's class, whose answers are checked."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clsim.data.own_class import Own, checked_names, kind_of, problem, told
from clsim.data.source import ImageArray, Split
from clsim.errors import ScenarioError, Unplannable

Labels = NDArray[np.int8]
Soft = NDArray[np.float32]


class OwnImages(Own):
    """An `ImageSource` of a class from a file; what it gives is checked."""

    @cached_property
    def _source(self) -> Any:
        return self._made()

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, as the class gives them."""
        with self._asked("class_names"):
            return checked_names(self.config.name, "class_names", self._source.class_names)

    def labels(self, split: Split) -> Labels:
        """True labels, int8 [N, C]: 1 present, 0 absent, -1 unknown; read-only.

        Raises:
            Unplannable: the class fails, or gives something else.
        """
        if split not in self._labels:
            with self._asked(f"labels({split!r})"):
                labels = np.asarray(self._source.labels(split))
            what = f"{self.config.name}: labels({split!r}): given {kind_of(labels)}, allowed:"
            if labels.ndim != 2 or labels.dtype.kind not in "biu" or labels.shape[1] != len(self.class_names):
                raise problem("name", f"{what} int8 [N, {len(self.class_names)}]")
            if (wrong := np.argwhere((labels != -1) & (labels != 0) & (labels != 1))).size:
                row, column = wrong[0].tolist()
                text = f"{self.config.name}: labels({split!r})[{row}, {column}]: given {labels[row, column]}"
                raise problem("name", f"{text}, allowed: 1 present, 0 absent, -1 unknown")
            self._labels[split] = labels.astype(np.int8)
            self._labels[split].flags.writeable = False
        return self._labels[split]

    @cached_property
    def _labels(self) -> dict[Split, Labels]:
        return {}

    def soft_labels(self, split: Split) -> Soft | None:
        """Soft labels, if the class has them; see `clsim.data.source.SoftSource`."""
        if not callable(getattr(self._kind, "soft_labels", None)):
            return None
        with self._asked(f"soft_labels({split!r})"):
            given = self._source.soft_labels(split)
        if given is None:
            return None
        soft, shape = np.asarray(given, dtype=np.float32), self.labels(split).shape
        if soft.shape != shape or not ((soft >= 0) & (soft < 1)).all():
            text = f"{self.config.name}: soft_labels({split!r}): given {kind_of(soft)}, allowed: values in [0, 1)"
            raise problem("name", f"{text} of shape {list(shape)}")
        return soft

    def images(self, split: Split, size: int) -> ImageArray:
        """Images, uint8 [N, 3, size, size], in the order of `labels`."""
        with self._asked(f"images({split!r}, {size})"):
            images = self._source.images(split, size)
        shape, kind = getattr(images, "shape", None), getattr(images, "dtype", np.dtype(np.uint8))
        wanted = (len(self.labels(split)), 3, size, size)
        if shape is None or tuple(shape) != wanted or kind != np.uint8:
            given = type(images).__name__ if shape is None else f"{kind} {list(shape)}"
            text = f"{self.config.name}: images({split!r}, {size}): given {given}, allowed: uint8 {list(wanted)}"
            raise ScenarioError([text])
        found: ImageArray = images
        return found

    def check_size(self, size: int) -> None:
        """Ask the class, if it says which sizes it has."""
        if callable(getattr(self._kind, "check_size", None)):
            with self._asked(f"check_size({size})"):
                self._source.check_size(size)

    def image_names(self, split: Split) -> list[str]:
        """Ids of the images: the class's own, or their row numbers."""
        if callable(getattr(self._kind, "image_names", None)):
            with self._asked(f"image_names({split!r})"):
                return [str(name) for name in self._source.image_names(split)]
        return list(map(str, range(len(self.labels(split)))))

    def column(self, split: Split, name: str) -> list[str]:
        """Values of a column, if the class has columns; see `clsim.data.source.ColumnSource`."""
        key = ("stream", "domains")
        if not callable(getattr(self._kind, "column", None)):
            raise Unplannable(key, f"{self.config.name} has no method column(split, name) that says them")
        with self._asked(f"column({split!r}, {name!r})"):
            values = [str(value) for value in self._source.column(split, name)]
        if len(values) != (n := len(self.labels(split))):
            text = f"{self.config.name}: column({split!r}, {name!r}): given {len(values)} values, allowed: {n}"
            raise Unplannable(key, text)
        return values

    def box_areas(self, split: Split) -> NDArray[np.float32]:
        """Areas of boxes, if the class has them; see `clsim.data.source.AreaSource`."""
        key = ("labels", "visible", "smallest_box")
        if not callable(getattr(self._kind, "box_areas", None)):
            raise Unplannable(key, f"{self.config.name} has no method box_areas(split) that says how large boxes are")
        with self._asked(f"box_areas({split!r})"):
            areas = np.asarray(self._source.box_areas(split), dtype=np.float32)
        shape = self.labels(split).shape
        if areas.shape != shape or (areas < 0).any() or (areas > 1).any():
            text = f"{self.config.name}: box_areas({split!r}): given {kind_of(areas)}, allowed: values in [0, 1] or NaN"
            raise Unplannable(key, f"{text} of shape {list(shape)}")
        return areas

    def fingerprint(self) -> str:
        """The class's own hash of its images."""
        with self._asked("fingerprint()"):
            given = self._source.fingerprint()
        if not isinstance(given, str) or not given:
            raise problem("name", f"{self.config.name}: fingerprint(): given {given!r}, allowed: a text")
        return given

    def _asked(self, what: str) -> AbstractContextManager[None]:
        return told(f"{self.config.name}: {what}")


class OwnFeatures(OwnImages):
    """A source of features of a class from a file; see `clsim.data.source.FeatureSource`."""

    def features(self, split: Split) -> NDArray[np.float32]:
        """Features, float32 [N, d], in the order of `labels`."""
        with self._asked(f"features({split!r})"):
            features = np.asarray(self._source.features(split))
        n = len(self.labels(split))
        if features.ndim != 2 or features.dtype.kind != "f" or len(features) != n or not np.isfinite(features).all():
            text = (
                f"{self.config.name}: features({split!r}): given {kind_of(features)}, allowed: finite float32 [{n}, d]"
            )
            raise ScenarioError([text])
        return features.astype(np.float32, copy=False)

    def images(self, split: Split, size: int) -> ImageArray:
        """Raise ScenarioError: there are none."""
        raise ScenarioError([f"{self.config.name}: features, which are no images"])
