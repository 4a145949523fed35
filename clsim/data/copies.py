"""Images that are there more than once, by what they show: in training and test, or with other labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clsim.data.source import Split


class Pictures(NamedTuple):
    """The decoded images of a split.

    Attributes:
        names: path of each.
        digests: hash of size and pixels of each.
        labels: int8 [N, C], 1 present, 0 absent, -1 unknown.
    """

    names: Sequence[str]
    digests: Sequence[bytes]
    labels: NDArray[np.int8]


@dataclass(frozen=True)
class Copies:
    """Images whose pixels equal those of an earlier one.

    Attributes:
        count: how many there are.
        in_both: (training image, test image) of each test image that is also trained on.
        contradicting: (earlier image, image) of each that has another label of a class which both know.
    """

    count: int = 0
    in_both: tuple[tuple[str, str], ...] = ()
    contradicting: tuple[tuple[str, str], ...] = ()

    def summary(self) -> dict[str, Any]:
        """Return the counts and pairs, JSON-ready."""
        return {
            "count": self.count,
            "in_training_and_test": list(map(list, self.in_both)),
            "with_other_labels": list(map(list, self.contradicting)),
        }


def find_copies(pictures: Mapping[Split, Pictures]) -> Copies:
    """Find images that are there more than once, in several files."""
    first: dict[bytes, tuple[Split, int]] = {}
    count = 0
    in_both, contradicting = [], []
    for split, (names, digests, labels) in pictures.items():
        for row, digest in enumerate(digests):
            where, earlier = first.setdefault(digest, (split, row))
            pair = pictures[where].names[earlier], names[row]
            if pair[0] == pair[1]:  # the image itself, or in the lists of both splits, of which lists of ids choose
                continue
            count += 1
            if where != split:
                in_both.append(pair)
            known = pictures[where].labels[earlier]
            if ((known != labels[row]) & (known >= 0) & (labels[row] >= 0)).any():
                contradicting.append(pair)
    return Copies(count, tuple(in_both), tuple(contradicting))
