"""What an annotator goes by beside the truth: shares by class, sizes of boxes, confidences of a machine.

`labels.visible` names the model; `clsim.scenario.plan.rules.show` applies it. What is read here decides what is
visible, never who is in a task or what is scored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clsim.data.class_names import composed, folded
from clsim.data.source import Split
from clsim.errors import Unplannable, did_you_mean
from clsim.scenario.plan.id_lists import read_confidences
from clsim.scenario.schema import KeepByClass, MachineLabels, ScenarioConfig, SmallestBox
from clsim.vocabulary import UNKNOWN

_KEY = ("labels", "visible")
Names = Callable[[Split], Sequence[str]]
Evidence = NDArray[Any] | None


def evidence(
    config: ScenarioConfig,
    streamed: Sequence[str],
    class_names: Sequence[str],
    image_names: Names | None,
    box_areas: NDArray[np.float32] | None,
) -> Evidence:
    """Return what the model in `labels.visible` goes by, columns in stream order; None: the truth alone.

    per_class: float64 [C], probability that a label of the class is visible. smallest_box: float32 [N, C], area of the
    largest box / that of the image, NaN where it is not known. confidences: int8 [N, C], labels of a machine.

    Args:
        streamed: the C streamed classes in stream order.
        class_names: all classes of the data set, in its order.
        image_names: ids of the images of a split.
        box_areas: float32 [N, all classes], of the training images, for `smallest_box`.

    Raises:
        Unplannable: an unknown class, or a file that does not fit.
    """
    rule = config.labels.visible
    if isinstance(rule, KeepByClass):
        shares = {composed(name): share for name, share in rule.per_class.items()}
        for name in shares:
            if name not in streamed:
                text = f"unknown class {name!r}{did_you_mean(name, streamed)}"
                raise Unplannable((*_KEY, "per_class"), text)
        return np.array([shares.get(name, rule.others) for name in streamed])
    joined = config.dataset.spellings == "join"
    spelt = [[c for c, other in enumerate(class_names) if _same(name, other, joined)] for name in streamed]
    if isinstance(rule, SmallestBox):
        assert box_areas is not None
        return np.stack([np.fmax.reduce(box_areas[:, columns], axis=1) for columns in spelt], axis=1)
    if isinstance(rule, MachineLabels):
        column_of = dict.fromkeys(map(composed, class_names), -1)  # classes that are not streamed
        column_of |= {composed(class_names[c]): place for place, columns in enumerate(spelt) for c in columns}
        names, key = None if image_names is None else image_names("train"), (*_KEY, "confidences")
        rows, columns, given = read_confidences(Path(rule.confidences), names, column_of, key)
        labels = np.full((len(names or ()), len(streamed)), UNKNOWN, dtype=np.int8)
        labels[rows, columns] = np.select([given >= rule.present, given < rule.absent], [1, 0], UNKNOWN)
        return labels
    return None


def _same(name: str, other: str, joined: bool) -> bool:
    return composed(other) == name or (joined and folded(other) == folded(name))
