"""Data sets by somebody else's class: from a file of yours, from torchvision, or objects made in Python.

    dataset: {name: my_data.py:MyData, options: {root: photos}}
    dataset: {name: torchvision/CIFAR10, options: {root: /data, download: false}}
    clsim.load_scenario("digits-b0c2").with_source(train, test)

Two kinds of class will do:

* an `ImageSource` (`clsim.data.source`), which gives labels and images of both splits as arrays;
* a map-style data set, such as every `torch.utils.data.Dataset` with `__len__` and `__getitem__`: its items are
  (image, labels), its `classes` names the classes. It is made once per split: with `split="train"` and `"test"`, or
  `train=True` and `False`, whichever the class takes. If it takes neither, `test: {share: 0.2}` divides one.

An image is a PIL image or a uint8 tensor or array, [3, H, W], [1, H, W] or [H, W]. Labels are an index, a list of class
names, or C numbers: 1 present, 0 absent, -1 unknown. They are read without decoding an image if the data set has a
method `labels()` or an attribute `targets`.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any, Literal
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from clsim.data.image_files import SPLITS
from clsim.data.own_class import OwnConfig, problem
from clsim.data.own_images import OwnFeatures, OwnImages
from clsim.data.own_items import OwnItems
from clsim.data.source import ImageSource, Split
from clsim.errors import ScenarioError, Unplannable
from clsim.parts import PartError, bound, find


def open_own(config: OwnConfig) -> ImageSource:
    """Return the data set of a class, which is loaded but not yet made.

    Raises:
        Unplannable: no such file or class, or options that it does not take.
    """
    try:
        kind = find("dataset", config.name)
        if not callable(kind):
            raise PartError(f"{config.name}: given {type(kind).__name__}, allowed: a class or function")
        maker = bound("dataset", config.name, kind, config.options, "dataset")
    except PartError as error:
        raise Unplannable(("dataset", *(error.below or ("name",))), error.text) from error
    gives = [name for name in ("features", "images", "labels", "fingerprint") if callable(getattr(kind, name, None))]
    if gives[-2:] != ["labels", "fingerprint"] or len(gives) < 3:
        return OwnItems(config, kind, maker)
    for key in ("test", "resize", "soft_labels"):
        if getattr(config, key) != OwnConfig.model_fields[key].default:
            raise problem(key, f"not together with {config.name}, which gives arrays of both splits itself")
    return (OwnFeatures if "features" in gives else OwnImages)(config, kind, maker)


# --- objects made in Python


class ObjectConfig(BaseModel, frozen=True, extra="forbid", strict=True):
    """Options of a data set that was given as a Python object; only `Scenario.with_source` makes them."""

    name: Literal["object"] = Field(description="a Python object, given to Scenario.with_source in the same process")
    given: str = Field(description="type of the object")
    key: str = Field(description="key by which this process finds the object again")


_objects: WeakValueDictionary[str, ImageSource] = WeakValueDictionary()


def remember(source: ImageSource, given: str) -> ObjectConfig:
    """Return options by which `open_object` finds a source again as long as this process holds it.

    The key follows from the labels, and from how many other sources with the same labels there are.
    """
    digest = hashlib.sha256(repr(source.class_names).encode())
    for split in SPLITS:
        digest.update(source.labels(split).tobytes())
    number = 0
    while _objects.get(key := f"{digest.hexdigest()[:16]}-{number}", source) is not source:
        number += 1
    _objects[key] = source
    return ObjectConfig(name="object", given=given, key=key)


def open_object(config: ObjectConfig) -> ImageSource:
    """Return the source that `remember` was given.

    Raises:
        Unplannable: this process does not hold it.
    """
    source = _objects.get(config.key)
    if source is None:
        text = f"given {config.given!r}, an object of another Python process; give it again with Scenario.with_source"
        raise problem("name", text)
    return source


def object_source(train: Any, test: Any = None) -> ImageSource:
    """Return the source of objects: of two map-style data sets, or of one `ImageSource` whose answers are checked."""
    if test is not None:
        return ObjectItems(train, test)
    if not all(callable(getattr(train, name, None)) for name in ("labels", "images", "fingerprint")):
        text = (
            f"with_source: given one {type(train).__name__}, expected two map-style data sets, train and test, or one"
        )
        raise ScenarioError([f"{text} ImageSource with class_names, labels, images and fingerprint"])
    return ObjectImages(train)


def _config_of(given: Any) -> OwnConfig:
    config: OwnConfig = OwnConfig.model_construct(name=type(given).__name__, test=None)
    return config


class ObjectImages(OwnImages):
    """An `ImageSource` given as an object; what it gives is checked."""

    def __init__(self, source: ImageSource) -> None:
        super().__init__(_config_of(source), type(source), None)
        self._source = source


class ObjectItems(OwnItems):
    """Map-style data sets given as objects."""

    def __init__(self, train: Any, test: Any) -> None:
        super().__init__(_config_of(train), type(train), None)
        self._given: dict[Split, Any] = {"train": train, "test": test}

    @cached_property
    def _parts(self) -> dict[Split, tuple[Any, NDArray[np.int64]]]:
        parts: dict[Split, tuple[Any, NDArray[np.int64]]] = {}
        for split, dataset in self._given.items():
            parts[split] = self._checked(dataset), np.arange(len(dataset))
        return parts
