"""Thinning the training images to a long tail: which counts are wanted, and which images are kept for them.

Pure functions on label matrices, apart from the file of ids. The test images keep their distribution, as in the
benchmarks of the field.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clsim.errors import Unplannable
from clsim.randomness import permutation
from clsim.scenario.plan.id_lists import read_ids
from clsim.scenario.schema import Imbalance, LongTail, Pareto

Labels = NDArray[np.int8]
Ids = NDArray[np.int64]

_TAIL = 0.99
"""Quantile of the Pareto distribution at which the rarest class stands (Wu et al., ECCV 2020)."""
_MOST_SHOWN = 5


def targets(rule: Imbalance | Pareto, positives: NDArray[Any]) -> Ids:
    """How many positives each class should have, int64 [C], at least 1 and at most what there is.

    Classes are ranked by falling `positives` (ties by column), rank 0 ... C - 1:

        imbalance f:  n_r = n_0 f^(-r / (C - 1)), with the largest n_0 that no class falls short of (Cui et al., CVPR
                      2019, who cut balanced data by this profile)
        pareto:       n_r = smallest + (largest - smallest) x_r^-(alpha + 1), x from 1 to the 99 % quantile of the
                      Pareto distribution in equal steps, rounded down (Wu et al., ECCV 2020: VOC-MLT is alpha 6 with
                      800 and 1, COCO-MLT with 1200 and 1); largest: null is the commonest class's own count

    Args:
        positives: int [C], training images that show each class, all above 0.
    """
    falling = np.argsort(-positives, kind="stable")
    available = positives[falling].tolist()
    steps = [rank / max(1, len(available) - 1) for rank in range(len(available))]
    if isinstance(rule, Imbalance):
        most = min(count * rule.imbalance**step for count, step in zip(available, steps, strict=True))
        wanted = [round(most * rule.imbalance**-step) for step in steps]
    else:
        shape = rule.pareto
        largest = available[0] if shape.largest is None else shape.largest
        last = (1 - _TAIL) ** (-1 / shape.alpha)
        places = [1 + (last - 1) * step for step in steps]
        wanted = [int(shape.smallest + (largest - shape.smallest) * x ** -(shape.alpha + 1)) for x in places]
    result = np.empty(len(available), dtype=np.int64)
    result[falling] = [max(1, min(count, there)) for count, there in zip(wanted, available, strict=True)]
    return result


def thin(truth: Labels, pool: Ids, wanted: Ids, seed: int) -> Ids:
    """Images whose class counts follow `wanted` as closely as images of several classes allow, int64 ascending.

    DECIDED, a greedy that needs one pass: each image belongs to its rarest class (the smallest target, ties by
    column). Classes have their turn from the rarest to the commonest, their images in random order. An image is taken
    while its rarest class is short of its target, unless more is lost than gained over its classes, each counted as
    1 / target: gained if short of the target, lost if not. So no class exceeds its target by images of its own, images
    of one class give the targets exactly, and what co-occurrence spoils is spoiled among the common classes, where one
    image matters least. A class that would be left without any image gets the first that shows it.

    Args:
        truth: int8 [N, C], all training images of the data set.
        pool: int64 [P], images that may be taken; each shows a class.
        wanted: int64 [C], at least 1.
        seed: of the random order.
    """
    place = permutation(len(truth), seed, "long tail")
    rarest_first = np.argsort(wanted, kind="stable")
    order = pool[np.argsort(place[pool], kind="stable")]
    shown = truth[np.ix_(order, rarest_first)] == 1
    owner = shown.argmax(axis=1)
    by_turn = np.argsort(owner, kind="stable")
    rows, ranks = np.nonzero(shown[by_turn])
    starts = np.searchsorted(rows, np.arange(len(order) + 1)).tolist()
    all_ranks = ranks.tolist()
    goal = wanted[rarest_first].tolist()
    worth = [1 / count for count in goal]
    have = [0] * len(goal)
    taken = []
    for row, image in enumerate(order[by_turn].tolist()):
        classes = all_ranks[starts[row] : starts[row + 1]]
        gain = sum(worth[c] if have[c] < goal[c] else -worth[c] for c in classes)
        if have[classes[0]] < goal[classes[0]] and (gain >= 0 or not have[classes[0]]):
            taken.append(image)
            for c in classes:
                have[c] += 1
    taken += [int(order[shown[:, c].argmax()]) for c, count in enumerate(have) if not count and shown[:, c].any()]
    return np.unique(np.array(taken, dtype=np.int64))


def apply(
    rule: LongTail, truth: Labels, pool: Ids, class_names: Sequence[str], seed: int, names: Sequence[str] | None
) -> Ids:
    """The part of the pool that `labels.long_tail` keeps, int64 ascending.

    Args:
        truth: int8 [N, C], all training images of the data set, columns as `class_names`.
        pool: int64 [P], images of it that the stream may use.
        names: ids of the N images, for `{ids: file}`; None: the data set has none.

    Raises:
        Unplannable: a class without an image, or a file of ids that does not fit.
    """
    if rule == "none":
        return pool
    if isinstance(rule, Imbalance | Pareto):
        positives = (truth[pool] == 1).sum(axis=0)
        if empty := [name for name, count in zip(class_names, positives, strict=True) if not count]:
            raise Unplannable(("labels", "long_tail"), f"no training image shows {', '.join(empty[:_MOST_SHOWN])}")
        return thin(truth, pool, targets(rule, positives), seed)
    kept = np.intersect1d(read_ids(Path(rule.ids), names, ("labels", "long_tail", "ids")), pool)
    if not len(kept):
        raise Unplannable(("labels", "long_tail", "ids"), f"{rule.ids}: lists no image that can be trained on")
    return kept
