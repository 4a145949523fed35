"""Rows that show many classes, rare ones above all.

An own rule. The idea of preferring images of many completed labels is that of KAR (Knowledge-Aware Replay), whose
equations are not public: this is not its selection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clsim.randomness import raw_integers

if TYPE_CHECKING:
    from clsim.training.memory.store import Memory

Floats = NDArray[np.float32]


class LabelDensity:
    """Keeps of each task the rows of the largest density: the sum over classes of label / n_c.

    Labels are those that the memory holds, completed by relabelling where there is any: 1, or soft; unknown ones count
    as 0. n_c is the sum of the labels of class c over all rows, stored and offered.

    DECIDED: of each task as many rows as `class-balanced` keeps of it, because rows of older tasks have more labels.
    Stored rows are ranked anew each time, by the labels they have gained. Equal rows go by a random key of each row.
    """

    needs_features = False
    asks_network = False
    takes_batches = True

    def choose(self, memory: Memory, task: int, features: Floats | None = None) -> NDArray[np.int64]:
        labels = np.clip(memory.labels, 0, None).astype(np.float64)
        frequencies = labels.sum(axis=0)
        density = labels @ np.divide(1.0, frequencies, out=np.zeros_like(frequencies), where=frequencies > 0)
        keys = raw_integers(int(memory.rows.max()) + 1, memory.seed, "label-density")[memory.rows]
        order = np.lexsort((keys, -density.round(12)))
        counts = memory.budget.of_tasks(memory.tasks[: task + 1])
        stored = np.unique(memory.stored_by)
        return np.concatenate([order[memory.stored_by[order] == by][: counts[int(by)]] for by in stored])
