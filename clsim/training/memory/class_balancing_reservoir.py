"""CBRS: a reservoir for each class that fills the memory, while rows of smaller classes are taken in without chance.

Chrysakis, Moens: "Online Continual Learning from Imbalanced Data", ICML 2020, algorithm 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from clsim.randomness import uniforms
from clsim.training.memory.offers import in_order

if TYPE_CHECKING:
    from clsim.training.memory.store import Memory

Floats = NDArray[np.float32]


class ClassBalancingReservoir:
    """Takes in each row of a class that is not full, in place of a random row of a largest class.

    A class is full once it has been a largest one of a full memory. A row of a full class takes the place of a random
    row of its own class with probability m / n: m rows of the class are stored, n were offered, this one among them.

    DECIDED, as the paper has one label for each row: the class of a row is the given positive of which the fewest rows
    were offered, the first of several, and it counts for this class only; rows without a positive are a class of their
    own. Classes of stored rows are told anew with each offer, by the counts so far. All rows of a task are offered in
    random order. n and the full classes are saved with the memory.
    """

    needs_features = False
    asks_network = False
    takes_batches = True

    def __init__(self) -> None:
        self.offered = np.zeros(0, dtype=np.int64)
        self.full = np.zeros(0, dtype=np.bool_)

    def choose(self, memory: Memory, task: int, features: Floats | None = None) -> NDArray[np.int64]:
        positives = memory.positives
        if not len(self.offered):
            self.offered = np.zeros(positives.shape[1] + 1, dtype=np.int64)
            self.full = np.zeros(positives.shape[1] + 1, dtype=np.bool_)
        most = memory.budget.of_all(memory.tasks[task].stop)
        slots = list(range(len(memory) - memory.offered))[:most]
        classes = np.full(most, -1)
        classes[: len(slots)] = [self._class(positives[slot]) for slot in slots]
        order = in_order(memory, task)
        drawn = uniforms(2 * len(order), memory.seed, "cbrs", task, int(self.offered.sum())).reshape(-1, 2)
        for row, (come, which) in zip(order, drawn, strict=True):
            own = self._class(positives[row])
            self.offered[own] += 1
            if len(slots) < most:
                classes[len(slots)] = own
                slots.append(int(row))
                continue
            stored = np.bincount(classes, minlength=len(self.full))
            largest = stored == stored.max()
            self.full |= largest
            if self.full[own] and come >= stored[own] / self.offered[own]:
                continue
            leaving = np.flatnonzero(classes == own if self.full[own] else largest[classes])
            slot = int(leaving[int(which * len(leaving))])
            slots[slot], classes[slot] = int(row), own
        return np.array(slots, dtype=np.int64)

    def _class(self, shown: NDArray[np.bool_]) -> int:
        """Return the class of a row with the positives `shown`, bool [C]; C for none."""
        columns = np.flatnonzero(shown)
        return int(columns[self.offered[columns].argmin()]) if len(columns) else len(shown)

    def state_dict(self) -> dict[str, Any]:
        return {"offered": torch.from_numpy(self.offered.copy()), "full": torch.from_numpy(self.full.copy())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.offered, self.full = state["offered"].numpy().copy(), state["full"].numpy().copy()
