"""Rainbow memory: of each class rows from the surest to the least sure.

Bang, Kim, Yoo, Ha, Choi: "Rainbow Memory: Continual Learning with a Memory of Diverse Samples", CVPR 2021.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from clsim.randomness import raw_integers
from clsim.training.memory.selection import round_robin

if TYPE_CHECKING:
    from clsim.training.memory.store import Memory

Floats = NDArray[np.float32]


class RainbowSelection:
    """Sorts the positives of each class by uncertainty and keeps every (n / k)-th of n, where the class may have k.

    Uncertainty is 1 - max(v, 1 - v), where v is the share of passes over augmented images in which the network says
    that the class is there. All rows are chosen anew each time, stored and offered.

    DECIDED, as the paper has one label for each row: each class has a list of its own over all its given positives, and
    the lists are merged as in `class-balanced`, the rarest class first, a row taken once. Passes use the scenario's
    `training.augmentation`; without one all are alike, and rows of equal uncertainty go by a random key of each row.

    Args:
        passes: over augmented images, for each choice.
    """

    needs_features = False
    asks_network = True
    takes_batches = True

    def __init__(
        self, passes: Annotated[int, Field(ge=1, description="over augmented images, for each choice")] = 12
    ) -> None:
        self.passes = passes

    def choose(self, memory: Memory, task: int, features: Floats | None = None) -> NDArray[np.int64]:
        assert memory.view is not None, "rainbow needs a network"
        seen = memory.tasks[task].stop
        everything = np.arange(len(memory))
        votes = np.zeros((len(memory), seen))
        for logits in memory.view.augmented_logits(everything, self.passes):
            votes += logits[:, :seen] > 0
        share = votes / self.passes
        uncertainty = 1 - np.maximum(share, 1 - share)
        keys = raw_integers(int(memory.rows.max()) + 1, memory.seed, "rainbow")[memory.rows]
        positives, budget = memory.positives[:, :seen], memory.budget.of_classes(seen)
        queues = []
        for column in np.argsort(positives.sum(axis=0), kind="stable"):
            members = np.flatnonzero(positives[:, column])
            members = members[np.lexsort((keys[members], uncertainty[members, column]))]
            queues.append(iter(spread(len(members), int(budget[column]), members).tolist()))
        count = memory.budget.of_all(seen)
        return round_robin(queues, np.argsort(keys, kind="stable"), count)[:count]


def spread(n: int, k: int, members: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return every (n / k)-th of n members first, then the others; int64 [n]."""
    first = np.unique(np.arange(k) * n // k) if 0 < k < n else np.arange(n)
    return np.concatenate([members[first], np.delete(members, first)])
