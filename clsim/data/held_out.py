"""A share of the images kept for testing, for data that come without a test split."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from clsim.errors import Unplannable
from clsim.randomness import raw_integers

Rows = NDArray[np.int64]


class ShareOfTraining(BaseModel, frozen=True, extra="forbid", strict=True):
    """`test: {share: 0.2}`."""

    share: float = Field(gt=0, lt=1, description="share of the images that is held out for testing")
    seed: int = Field(0, ge=0, description="seed of the choice; the seed of the stream does not change the test images")


def split_rows(labels: NDArray[np.int8], rule: ShareOfTraining) -> tuple[Rows, Rows]:
    """Divide images into training and test rows, both int64 and ascending.

    DECIDED: stratified by the rarest class of each image (fewest positives, ties by column; images without a positive
    are a stratum of their own), because a plain draw can leave a rare class without a test image. A stratum of two or
    more images gives at least one to either side; a single image is for training.

    Args:
        labels: int8 [N, C]; only which entries are 1 counts.

    Raises:
        Unplannable: one of the sides is empty.
    """
    present = labels == 1
    rarest_first = np.argsort(present.sum(axis=0), kind="stable")
    rarest = np.where(present.any(axis=1), rarest_first[present[:, rarest_first].argmax(axis=1)], -1)
    keys = raw_integers(len(labels), rule.seed, "test share")
    test = np.zeros(len(labels), dtype=bool)
    for stratum in np.unique(rarest):
        members = np.flatnonzero(rarest == stratum)
        wanted = int(np.floor(rule.share * len(members) + 0.5))
        count = 0 if len(members) == 1 else min(max(wanted, 1), len(members) - 1)
        test[members[np.argsort(keys[members], kind="stable")[:count]]] = True
    train, chosen = np.flatnonzero(~test).astype(np.int64), np.flatnonzero(test).astype(np.int64)
    if not len(train) or not len(chosen):
        text = f"given a share of {rule.share}, which takes {len(chosen)} of {len(labels)} images"
        raise Unplannable(("dataset", "test"), text)
    return train, chosen
