"""What a stream needs of a data set: labels, and what else its configuration asks for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clsim.data.source import AreaSource, ColumnSource, ImageSource, NamedSource, SharedSource, SoftSource
from clsim.errors import Unplannable
from clsim.scenario.plan.planning import StreamData, stream_data
from clsim.scenario.schema import ScenarioConfig, SmallestBox


def read_data(config: ScenarioConfig, source: ImageSource) -> StreamData:
    """Read the labels of both splits, and of training images what `config` asks for; no image.

    Raises:
        Unplannable: the data set has no such column, or no boxes.
    """
    of_domain = _domains(config, source)
    names = source.image_names if isinstance(source, NamedSource) else None
    soft = source.soft_labels("train") if isinstance(source, SoftSource) else None
    labels = source.labels("train"), source.labels("test")
    shared = source.training_rows() if isinstance(source, SharedSource) else None
    return stream_data(config, source.class_names, *labels, names, soft, of_domain, _box_areas(config, source), shared)


def _domains(config: ScenarioConfig, source: ImageSource) -> list[str]:
    """Return the domain of each training image; with `stream.domains`, else nothing.

    Raises:
        Unplannable: the data set has no such column.
    """
    rule, name = config.stream.domains, config.dataset.name
    if rule is None:
        return []
    if not isinstance(source, ColumnSource):
        allowed = "allowed: manifest, digits, or a class of your own with column(split, name)"
        text = f"given {rule.column!r}, but the data set {name} has no columns; {allowed}"
        raise Unplannable(("stream", "domains"), text)
    return source.column("train", rule.column)


def _box_areas(config: ScenarioConfig, source: ImageSource) -> NDArray[np.float32] | None:
    """Return the areas of boxes in training images, if `labels.visible` asks for them.

    Raises:
        Unplannable: the data set has no boxes.
    """
    if not isinstance(config.labels.visible, SmallestBox):
        return None
    if not isinstance(source, AreaSource):
        allowed = "allowed: voc, coco, digits, or a class of your own with box_areas(split)"
        text = f"needs boxes, but the data set {config.dataset.name} has none; {allowed}"
        raise Unplannable(("labels", "visible", "smallest_box"), text)
    return source.box_areas("train")
