"""A threshold for each class, chosen on labelled images that are not test images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clsim.training.class_thresholds import best_f1

ChosenOn = Literal["validation images", "visible training labels"]

DEFAULT = 0.5
"""DECIDED: the threshold of a class without a positive among the images that are looked at."""


@dataclass(frozen=True, eq=False)
class Thresholds(Mapping[str, float]):
    """Class -> probability above which it counts as present: the one with the highest F1 on the images named below.

    Attributes:
        chosen_on: "validation images", which were held out of training, with their true labels; or "visible training
            labels", those that the run showed its learner.
        images: number of images that were looked at.
        of_class: class -> threshold, 0..1.
        f1: class -> F1 at it on these images, 0..1; None: no positive, and the threshold is 0.5.
        positives: class -> number of its positives among them.
    """

    chosen_on: ChosenOn
    images: int
    of_class: dict[str, float]
    f1: dict[str, float | None]
    positives: dict[str, int]

    def __getitem__(self, name: str) -> float:
        return self.of_class[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.of_class)

    def __len__(self) -> int:
        return len(self.of_class)

    def present(self, probabilities: pd.DataFrame) -> pd.DataFrame:
        """Return which classes count as present, a frame of booleans like that of `Model.predict`."""
        return probabilities.gt(pd.Series(self.of_class), axis="columns")

    def content(self) -> dict[str, Any]:
        """Return the attributes as plain values; `Thresholds(**content)` reads them back."""
        return asdict(self)


def choose(
    probabilities: NDArray[Any], labels: NDArray[np.int8], class_names: Sequence[str], chosen_on: ChosenOn
) -> Thresholds:
    """Choose the threshold of each class that has the highest F1.

    A threshold lies halfway between the lowest probability above it and the highest below. DECIDED: of several with
    the same F1 the highest.

    Args:
        probabilities: float [N, S].
        labels: int8 [N, S], 1 present, 0 absent, -1 unknown (the entry is ignored).
        class_names: of the S columns.
        chosen_on: what the images are.

    Example:
        >>> chosen = choose(np.array([[0.9], [0.6], [0.2]]), np.array([[1], [1], [0]]), ["cat"], "validation images")
        >>> chosen["cat"], chosen.f1["cat"]
        (0.4, 1.0)
    """
    found = [_best(probabilities[known, column], labels[known, column]) for column, known in enumerate((labels >= 0).T)]
    return Thresholds(
        chosen_on,
        len(labels),
        {name: threshold for name, (threshold, _) in zip(class_names, found, strict=True)},
        {name: f1 for name, (_, f1) in zip(class_names, found, strict=True)},
        {name: int(count) for name, count in zip(class_names, (labels == 1).sum(axis=0), strict=True)},
    )


def _best(scores: NDArray[Any], present: NDArray[np.int8]) -> tuple[float, float | None]:
    """Return threshold and F1 of one class, from scores and labels 0 or 1 [n]."""
    return best_f1(scores, present) if present.any() else (DEFAULT, None)
