"""Pictures of the worst errors of a class: images without it that score highest, images with it that score lowest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clsim.evaluation.metrics import average_precision
from clsim.evaluation.sample_sheet import Tile, sheet
from clsim.evaluation.samples import Mark
from clsim.scenario.plan.stream_plan import StreamPlan

MEANINGS: Mapping[Mark, str] = {
    "wrong": "absent, scored highest",
    "missed": "present, scored lowest",
    "right": "another class that is present",
    "to come": "present, of a task to come",
}


@dataclass(frozen=True)
class Errors:
    """The worst errors of one class, as places among the evaluation images.

    Attributes:
        false_positives: int64 [n], the class is absent; by falling score.
        missed: int64 [n], the class is present; by rising score.
    """

    false_positives: NDArray[np.int64]
    missed: NDArray[np.int64]


def worst_errors(scores: NDArray[Any], truth: NDArray[np.int8], n: int) -> Errors:
    """Return up to `n` errors of each kind of one class; equal scores in the order of the images.

    DECIDED: whatever the threshold, because AP counts the order alone.

    Args:
        scores: float [M], logits.
        truth: int8 [M], 1 present, 0 absent, -1 unknown.
        n: of each kind.
    """
    absent, present = np.flatnonzero(truth == 0), np.flatnonzero(truth == 1)
    highest = absent[np.argsort(-scores[absent], kind="stable")][:n]
    lowest = present[np.argsort(scores[present], kind="stable")][:n]
    return Errors(highest.astype(np.int64), lowest.astype(np.int64))


def error_sheet(
    plan: StreamPlan,
    scores: NDArray[Any],
    column: int,
    n: int,
    pixels: Callable[[NDArray[np.int64]], NDArray[np.uint8]],
    names: Sequence[str],
) -> bytes:
    """Return the picture sheet of a class as PNG: a row of false positives, and a row of missed positives.

    Args:
        plan: with the truth.
        scores: float [M, S], logits.
        column: of the class, within 0 ... S - 1.
        n: images of each kind.
        pixels: (positions in the split, int64 [k]) -> uint8 [k, 3, h, w].
        names: id of each of the M images.
    """
    truth, own = plan.test_truth[:, column], scores[:, column]
    errors = worst_errors(own, truth, n)
    ap = 100 * average_precision(own[:, None], truth[:, None])[0]
    shown = "undefined" if np.isnan(ap) else f"{ap:.1f} %"
    title = f"{plan.class_names[column]}: AP {shown}, present in {(truth == 1).sum()} of {(truth >= 0).sum()} images"
    kinds: list[tuple[Mark, NDArray[np.int64]]] = [("wrong", errors.false_positives), ("missed", errors.missed)]
    rows = []
    for mark, places in kinds:
        images: Sequence[NDArray[np.uint8]] = list(pixels(plan.test_samples[places])) if len(places) else []
        tiles = [
            Tile(image, _lines(plan, scores[place], place, column, mark), names[place])
            for image, place in zip(images, places.tolist(), strict=True)
        ]
        rows.append(
            sheet(title if mark == "wrong" else "", MEANINGS if mark == "wrong" else {}, tiles, columns=max(3, n))
        )
    file = BytesIO()
    Image.fromarray(np.concatenate(rows)).save(file, "PNG")
    return file.getvalue()


def _lines(plan: StreamPlan, scores: NDArray[Any], place: int, column: int, mark: Mark) -> list[tuple[Mark, str]]:
    """The class with its probability, then the other classes that are present with theirs."""
    present = np.flatnonzero(plan.test_truth[place] == 1)
    probability = np.exp(-np.logaddexp(0, -scores.astype(np.float64)))
    found: list[tuple[Mark, str]] = [(mark, f"{probability[column]:.3f} \u00b7 {plan.class_names[column]}")]
    for other in present[present != column].tolist():
        seen = other < len(scores)
        told = f"{probability[other]:.3f} \u00b7 " if seen else ""
        found.append(("right" if seen else "to come", f"{told}{plan.class_names[other]}"))
    return found
