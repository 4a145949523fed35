"""The rows that a memory is offered, one after another, for selections that go through them singly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clsim.randomness import permutation

if TYPE_CHECKING:
    from clsim.training.memory.store import Memory


def in_order(memory: Memory, task: int) -> NDArray[np.int64]:
    """Return the positions of the offered rows in the order in which they come, int64 [n].

    All rows of a task come in random order; those of a portion as the stream offers them.
    """
    first = len(memory) - memory.offered
    if memory.whole:
        return first + permutation(memory.offered, memory.seed, "memory", task)
    return np.arange(first, len(memory))
