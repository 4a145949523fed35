"""PRS: a reservoir that keeps a set share of positives for each class.

Kim, Jeong, Kim: "Imbalanced Continual Learning with Partitioning Reservoir Sampling", ECCV 2020 (arXiv 2009.03632).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from clsim.randomness import uniforms
from clsim.training.memory.offers import in_order

if TYPE_CHECKING:
    from clsim.training.memory.store import Memory

Floats = NDArray[np.float32]
Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]

POWER = (
    "exponent of the shares: 1 proportional to the stream, 0 uniform, -1 inverse; authors: -0.03 on COCOseq, 0.02 on "
    "NUS-WIDEseq"
)
ALIKE = 1e-9
"""Two numbers that differ by less are equal: rounding breaks no tie and makes none."""


class PartitioningReservoir:
    """A reservoir whose positives follow target shares p_c = n_c^q / sum n^q; n_c positives of class c were offered.

    An offered row that finds the memory full comes in with a probability that is high for classes below their share,
    and takes the place of a row of a class above its share. n and p are saved with the memory.

    DECIDED: only given positives count, soft and relabelled ones never. The memory holds what the budget gives the
    classes seen so far; rows without a positive come in only while there is room, as in the authors' code. All rows of
    a task are offered in random order, each once whatever the epochs. Of equally good rows the first goes.

    Args:
        q: exponent of the shares.
    """

    needs_features = False
    asks_network = False
    takes_batches = True

    def __init__(self, q: Annotated[float, Field(description=POWER)] = -0.03) -> None:
        self.q = q
        self.offered = np.zeros(0)
        self.shares = np.zeros(0)
        self.rows = 0

    def choose(self, memory: Memory, task: int, features: Floats | None = None) -> NDArray[np.int64]:
        positives = memory.positives
        if not len(self.offered):
            self.offered, self.shares = np.zeros(positives.shape[1]), np.zeros(positives.shape[1])
        most = memory.budget.of_all(memory.tasks[task].stop)
        slots = list(range(len(memory) - memory.offered))[:most]
        stored = np.zeros((most, positives.shape[1]), dtype=np.bool_)
        stored[: len(slots)] = positives[slots]
        counts = stored.sum(axis=0).astype(np.float64)
        order = in_order(memory, task)
        drawn = uniforms(2 * len(order), memory.seed, "prs", task, self.rows).reshape(-1, 2)
        for row, (come, go) in zip(order, drawn, strict=True):
            shown = positives[row]
            if len(slots) < most:
                slot = len(slots)
                slots.append(int(row))
            elif come < admission(shown, self.offered, self.shares, most):
                slot = leaving(stored, counts, self.shares, go)
                slots[slot] = int(row)
            else:
                slot = -1
            if slot >= 0:
                counts += shown.astype(np.float64) - stored[slot]
                stored[slot] = shown
            self._count(shown, counts > 0)
        return np.array(slots, dtype=np.int64)

    def _count(self, shown: Flags, present: Flags) -> None:
        """Count an offered row, and set the shares of the classes that are in the memory."""
        self.rows += 1
        self.offered += shown
        weights = self.offered[present] ** self.q
        self.shares[present] = weights / weights.sum()

    def state_dict(self) -> dict[str, Any]:
        counts = {"offered": self.offered, "shares": self.shares}
        return {"rows": self.rows, **{name: torch.from_numpy(values.copy()) for name, values in counts.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows = state["rows"]
        self.offered, self.shares = state["offered"].numpy().copy(), state["shares"].numpy().copy()


def admission(shown: Flags, offered: Numbers, shares: Numbers, most: int) -> float:
    """Return the probability with which a full memory takes in a row.

    Args:
        shown: bool [C], the row's positives.
        offered: float64 [C], positives offered before it.
        shares: float64 [C], target share of each class.
        most: rows that the memory holds.
    """
    if not shown.any():
        return 0.0
    n, wanted = offered[shown], most * shares[shown]
    rates = np.divide(wanted, n, out=np.ones_like(n), where=n > wanted)
    return float(_softmax(-n) @ rates)


def leaving(stored: Flags, counts: Numbers, shares: Numbers, u: float) -> int:
    """Return the slot of the row that leaves a full memory.

    Args:
        stored: bool [M, C], positives of the stored rows.
        counts: float64 [C], their sum.
        shares: float64 [C], target share of each class.
        u: uniform number in [0, 1) that draws the class.
    """
    present = np.flatnonzero(counts > 0)
    if not len(present):  # DECIDED: no row shows a class, and any may leave
        return int(u * len(stored))
    surplus = counts[present] - shares[present] * counts[present].sum()
    place = np.searchsorted(np.cumsum(_softmax(surplus)), u, side="right")
    members = np.flatnonzero(stored[:, present[min(int(place), len(present) - 1)]])
    wanted = present[surplus <= ALIKE]
    lacking = (~stored[np.ix_(members, wanted)]).sum(axis=1)
    candidates = members[lacking == lacking.max()]
    without = counts - stored[candidates]
    gaps = np.abs(without - shares * without.sum(axis=1, keepdims=True))
    distances = np.where(without > 0, gaps, 0.0).sum(axis=1)
    if distances.min() >= len(stored):  # as in the authors' code
        return int(candidates[0])
    return int(candidates[np.flatnonzero(distances <= distances.min() + ALIKE)[0]])


def _softmax(values: Numbers) -> Numbers:
    powers = np.exp(values - values.max())
    return powers / powers.sum()
