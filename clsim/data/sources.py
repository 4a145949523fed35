"""The data sets by the type of their options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from clsim.data.coco import Coco, CocoConfig
from clsim.data.digits import Digits, DigitsConfig
from clsim.data.features import Features, FeaturesConfig
from clsim.data.folder import Folder, FolderConfig
from clsim.data.manifest import Manifest
from clsim.data.manifest_config import ManifestConfig
from clsim.data.own import ObjectConfig, open_object, open_own
from clsim.data.own_class import OwnConfig
from clsim.data.source import ImageSource
from clsim.data.voc import Voc, VocConfig

SOURCES: dict[type[BaseModel], Callable[[Any], ImageSource]] = {
    DigitsConfig: Digits,
    VocConfig: Voc,
    CocoConfig: Coco,
    ManifestConfig: Manifest,
    FolderConfig: Folder,
    FeaturesConfig: Features,
    OwnConfig: open_own,
    ObjectConfig: open_object,
}


def open_source(options: BaseModel) -> ImageSource:
    """The source of a data set's options, or of a scenario section that extends them; reads no data yet.

    Raises:
        Unplannable: a class of the user's own that is not there, or does not take its options.
    """
    for kind, source in SOURCES.items():
        if isinstance(options, kind):
            return source(kind(**{name: getattr(options, name) for name in kind.model_fields}))
    raise TypeError(f"no data set has options of type {type(options).__name__}")
