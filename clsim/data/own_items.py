"""Map-style data sets, such as every `torch.utils.data.Dataset` with a length, as an `ImageSource`."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clsim.data.held_out import split_rows
from clsim.data.image_cache import Pixels, to_square
from clsim.data.image_files import SPLITS
from clsim.data.label_values import hard_reading, is_soft
from clsim.data.own_class import Own, checked_names, kind_of, parameters_of, problem, told
from clsim.data.pixel_depth import to_rgb
from clsim.data.source import Split
from clsim.errors import ScenarioError, did_you_mean

Labels = NDArray[np.int8]
Soft = NDArray[np.float32]
log = logging.getLogger("clsim")


class OwnItems(Own):
    """A map-style data set as an `ImageSource`. Rows follow its indices, columns its `classes`.

    Images are kept in memory, at the size that is asked for. DECIDED: the fingerprint is the hash of all pixels and
    labels, read once per process, because nothing less changes whenever the data do; a data set with a method
    `fingerprint()` answers for itself.
    """

    @cached_property
    def _parts(self) -> dict[Split, tuple[Any, NDArray[np.int64]]]:
        """The data set of each split and the indices in use."""
        free = parameters_of(self._kind).keys() - self.config.options.keys()
        key = next((key for key in ("split", "train") if key in free), None)
        if (key is None) != (self.config.test is not None):
            if key is None:
                text = f"{self.config.name} takes neither split nor train; give --set 'dataset.test={{share: 0.2}}'"
                raise problem("test", text)
            raise problem("test", f"given a share, but {self.config.name} has splits of its own ({key})")
        if key is None:
            return self._shared(self._checked(self._made()))
        parts: dict[Split, tuple[Any, NDArray[np.int64]]] = {}
        for split in SPLITS:
            dataset = self._checked(self._made(**{key: split == "train" if key == "train" else split}))
            parts[split] = dataset, np.arange(len(dataset))
        return parts

    def _shared(self, dataset: Any) -> dict[Split, tuple[Any, NDArray[np.int64]]]:
        assert self.config.test is not None
        names = self._names(dataset)
        labels, _ = self._read(dataset, names, "train")
        return {
            split: (dataset, rows) for split, rows in zip(SPLITS, split_rows(labels, self.config.test), strict=True)
        }

    def _checked(self, dataset: Any) -> Any:
        for name in ("__len__", "__getitem__"):
            if not hasattr(dataset, name):
                text = f"{self.config.name}: {type(dataset).__name__} has no {name}"
                allowed = "__len__, __getitem__ and classes; or, of an ImageSource, labels, images and fingerprint"
                raise problem("name", f"{text}; needed: {allowed}")
        with told(f"{self.config.name}: len()"):
            if not len(dataset):
                raise problem("name", f"{self.config.name}: has no items")
        return dataset

    def _names(self, dataset: Any) -> tuple[str, ...]:
        if not hasattr(dataset, "classes"):
            raise problem("name", f"{self.config.name}: has no attribute classes, the names of its classes")
        with told(f"{self.config.name}: classes"):
            return checked_names(self.config.name, "classes", dataset.classes)

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """The `classes` of the data set."""
        train, test = (self._names(self._parts[split][0]) for split in SPLITS)
        if train != test:
            differ = sorted(set(train) ^ set(test))
            what = f"{differ[0]!r} is in one of them" if differ else "in another order"
            raise problem("name", f"{self.config.name}: other classes in train than in test: {what}")
        return train

    def labels(self, split: Split) -> Labels:
        """True labels, int8 [N, C]: 1 present, 0 absent, -1 unknown; read-only.

        Raises:
            Unplannable: an item fails, or its labels cannot be meant.
        """
        return self._labels[split][0]

    def soft_labels(self, split: Split) -> Soft | None:
        """Soft labels of a split; see `clsim.data.source.SoftSource`."""
        soft = self._labels[split][1]
        return soft if split == "train" and soft.any() else None

    @cached_property
    def _labels(self) -> dict[Split, tuple[Labels, Soft]]:
        found: dict[Split, tuple[Labels, Soft]] = {}
        for split, (dataset, rows) in self._parts.items():
            labels, soft = self._read(dataset, self.class_names, split)
            found[split] = labels[rows], soft[rows]
            found[split][0].flags.writeable = False
        return found

    def image_names(self, split: Split) -> list[str]:
        """Index of each image in the data set."""
        return list(map(str, self._parts[split][1].tolist()))

    def images(self, split: Split, size: int) -> Pixels:
        """All images, uint8 [N, 3, size, size], RGB; read-only, kept in memory.

        Raises:
            ScenarioError: an item fails, or is no image.
        """
        if (split, size) not in self._images:
            dataset, rows = self._parts[split]
            log.info("decoding %d images of %s from %s", len(rows), split, self.config.name)
            images = np.empty((len(rows), 3, size, size), dtype=np.uint8)
            for place, row in enumerate(rows.tolist()):
                images[place] = to_square(self._picture(dataset, row, split), size, self.config.resize)
            images.flags.writeable = False
            self._images[split, size] = images
        return self._images[split, size]

    @cached_property
    def _images(self) -> dict[tuple[Split, int], Pixels]:
        return {}

    def unreadable(self, split: Split) -> list[str]:
        """Read every item and return what is wrong with those that give no image."""
        problems = []
        dataset, rows = self._parts[split]
        for row in rows.tolist():
            try:
                self._picture(dataset, row, split)
            except ScenarioError as error:
                problems.append(str(error))
        return problems

    def check_size(self, size: int) -> None:
        """Read the first item of each split; any size will do."""
        for split, (dataset, rows) in self._parts.items():
            self._picture(dataset, int(rows[0]), split)

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256(f"{self.config.resize} {self.class_names!r}".encode())
        for split, (dataset, rows) in self._parts.items():
            labels, soft = self._labels[split]
            digest.update(f"\n{split} {len(rows)} ".encode() + labels.tobytes() + soft.tobytes())
            if callable(own := getattr(dataset, "fingerprint", None)):
                with told(f"{self.config.name}: fingerprint()"):
                    digest.update(f"{own()} {rows.tolist()}".encode())
                continue
            log.info("hashing %d images of %s from %s, once", len(rows), split, self.config.name)
            for row in rows.tolist():
                picture = self._picture(dataset, row, split)
                digest.update(f"{picture.size}".encode() + picture.tobytes())
        return digest.hexdigest()

    def fingerprint(self) -> str:
        """SHA-256 of labels, pixels and resizing; reads every image, once."""
        return self._fingerprint

    # --- items

    def _item(self, dataset: Any, row: int, split: Split) -> Sequence[Any]:
        with told(f"{self.config.name}: item {row} of {split}"):
            item = dataset[row]
        if not isinstance(item, tuple | list) or len(item) < 2:
            text = f"{self.config.name}: item {row} of {split}: given {type(item).__name__}, allowed: (image, labels)"
            raise problem("name", text)
        return item

    def _picture(self, dataset: Any, row: int, split: Split) -> Any:
        """The image of an item, as an RGB image of PIL."""
        from PIL import Image

        given = self._item(dataset, row, split)[0]
        if isinstance(given, Image.Image):
            try:
                return to_rgb(given)
            except ValueError as error:
                raise ScenarioError([f"{self.config.name}: item {row} of {split}: {error}"]) from None
        array = np.asarray(given) if hasattr(given, "__array__") else None
        if array is not None and array.dtype == np.uint8:
            array = array[0] if array.ndim == 3 and len(array) == 1 else array
            if array.ndim == 2 and array.size:
                return Image.fromarray(array).convert("RGB")
            if array.ndim == 3 and len(array) == 3 and array.size:
                return Image.fromarray(np.ascontiguousarray(array.transpose(1, 2, 0)))
        shown = type(given).__name__ if array is None else f"{type(given).__name__} {kind_of(array)}"
        hint = "; leave out a transform such as ToTensor: clsim normalises" if "float" in shown else ""
        allowed = "a PIL image, or uint8 [3, H, W]"
        raise ScenarioError([f"{self.config.name}: item {row} of {split}: image {shown}, allowed: {allowed}{hint}"])

    # --- labels

    def _read(self, dataset: Any, names: tuple[str, ...], split: Split) -> tuple[Labels, Soft]:
        """Labels int8 and soft labels float32, both [N, C], of all items of a data set; read once."""
        if id(dataset) in self._known:
            return self._known[id(dataset)]
        given = self._at_hand(dataset, split)
        if given is None:
            log.info("reading %d items of %s from %s for their labels", len(dataset), split, self.config.name)
        column = {name: position for position, name in enumerate(names)}
        labels = np.zeros((len(dataset), len(names)), dtype=np.int8)
        soft = np.zeros(labels.shape, dtype=np.float32)
        if isinstance(given, np.ndarray) and _are_indices(given, len(names)):
            labels[np.arange(len(given)), given] = 1
        else:
            for row in range(len(dataset)):
                one = self._item(dataset, row, split)[1] if given is None else given[row]
                try:
                    values = row_of_labels(one, column)
                except ValueError as error:
                    text = f"{self.config.name}: item {row} of {split}: labels: {error}"
                    raise problem("name", text) from None
                between = (values > 0) & (values < 1)
                labels[row], soft[row] = np.where(between, -1, values), np.where(between, values, 0)
        if self.config.soft_labels is None and soft.any():
            row = int(np.flatnonzero(soft.any(axis=1))[0])
            text = f"{self.config.name}: item {row} of {split}: labels between 0 and 1"
            raise problem("name", f"{text}; soft labels need dataset.soft_labels: unknown or {{threshold: 0.5}}")
        labels = np.where(soft > 0, hard_reading(soft, self.config.soft_labels), labels).astype(np.int8)
        self._known[id(dataset)] = labels, soft
        return labels, soft

    @cached_property
    def _known(self) -> dict[int, tuple[Labels, Soft]]:
        return {}

    def _at_hand(self, dataset: Any, split: Split) -> Sequence[Any] | None:
        """The labels of all items of a data set, if it has them without reading items."""
        if callable(getattr(dataset, "labels", None)):
            what = "labels()"
            with told(f"{self.config.name}: labels()"):
                given = dataset.labels()
        elif getattr(dataset, "target_transform", None) is None and hasattr(dataset, "targets"):
            what, given = "targets", dataset.targets
        else:
            return None
        found: Any = given if hasattr(given, "__array__") else list(given)
        if not isinstance(found, list) or all(isinstance(one, int) for one in found):
            found = np.asarray(found)
        if len(found) != len(dataset):
            text = f"{self.config.name}: {what} of {split}: {len(found)} entries for {len(dataset)} items"
            raise problem("name", text)
        return found


def _are_indices(given: NDArray[Any], n_classes: int) -> bool:
    return given.ndim == 1 and given.dtype.kind in "iu" and bool(((given >= 0) & (given < n_classes)).all())


def row_of_labels(given: Any, column: Mapping[str, int]) -> NDArray[np.float32]:
    """The labels of one image, float32 [C].

    Raises:
        ValueError: what they cannot be.
    """
    width = len(column)
    row = np.zeros(width, dtype=np.float32)
    if isinstance(given, str):
        given = [given]
    if isinstance(given, list | tuple | set | frozenset) and all(isinstance(name, str) for name in given):
        for name in given:
            if name not in column:
                raise ValueError(f"given {name!r}, which is none of its classes{did_you_mean(name, column)}")
            row[column[name]] = 1
        return row
    try:
        values = np.asarray(given)
        numbers = values.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"given {type(given).__name__}, allowed: {_ALLOWED}") from None
    if values.ndim == 0 and values.dtype.kind in "iu":
        if not 0 <= int(values) < width:
            raise ValueError(f"given {int(values)}, allowed: an index from 0 to {width - 1}")
        row[int(values)] = 1
        return row
    if values.shape != (width,):
        shown = f"{kind_of(values)}" if values.ndim else repr(given)
        raise ValueError(f"given {shown}, allowed: {_ALLOWED.format(width)}")
    for position, value in enumerate(numbers.tolist()):
        if value not in (1, 0, -1) and not is_soft(value):
            name = list(column)[position]
            raise ValueError(f"{name!r}: given {value:g}, allowed: 1 present, 0 absent, -1 unknown")
    return numbers.astype(np.float32)


_ALLOWED = "an index, a list of class names, or {} numbers"
