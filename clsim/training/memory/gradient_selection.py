"""GSS-greedy: rows whose gradients point elsewhere than those of the memory.

Aljundi, Lin, Goujaud, Bengio: "Gradient Based Sample Selection for Online Continual Learning", NeurIPS 2019.
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


class GradientSelection:
    """Takes in a row with a score below 1, and drops a row of high score for it.

        s = 1 + max over random subsets of cos(gradient of the row, mean gradient of the subset's stored rows)

    A row comes in as long as there is room. After that one with s < 1 meets a stored row, drawn in proportion to the
    scores s_i, and takes its place with probability s_i / (s_i + s). A row keeps the score that it came in with.

    DECIDED: the gradient is that of the head's weights and bias, by which a row needs no backward pass: it is the
    outer product of the loss's derivative by the logits and the features. The source takes all weights, one backward
    pass per row. A head that is not linear counts as a linear one over the pooled features. DECIDED: a row is compared
    with an empty memory, and a gradient of length 0 with any other, as at a cosine of 0. Members of a subset are drawn
    with repeats. All rows of a task are offered in random order, with the gradients of the network as it is then.

    Args:
        subsets: so many are drawn for each row.
        size: rows in each.
    """

    needs_features = False
    asks_network = True
    takes_batches = True

    def __init__(
        self,
        subsets: Annotated[int, Field(ge=1, description="random subsets a row is compared with")] = 10,
        size: Annotated[int, Field(ge=1, description="stored rows in each subset")] = 10,
    ) -> None:
        self.subsets = subsets
        self.size = size
        self.scores = np.zeros(0)
        self.offered = 0

    def choose(self, memory: Memory, task: int, features: Floats | None = None) -> NDArray[np.int64]:
        assert memory.view is not None, "gss needs a network"
        errors, inputs = memory.view.head_gradients(np.arange(len(memory)))
        errors, inputs = errors.astype(np.float64), inputs.astype(np.float64)
        most = memory.budget.of_all(memory.tasks[task].stop)
        slots = list(range(len(memory) - memory.offered))[:most]
        scores = self.scores[: len(slots)].tolist()
        order, compared = in_order(memory, task), self.subsets * self.size
        drawn = uniforms(len(order) * (compared + 2), memory.seed, "gss", task, self.offered)
        for row, (*members, which, come) in zip(order, drawn.reshape(len(order), -1), strict=True):
            score = 1.0
            if slots:
                places = np.array(slots)[(np.array(members) * len(slots)).astype(np.int64)]
                chosen = places.reshape(self.subsets, self.size)
                score += float(cosines(errors[row], inputs[row], errors[chosen], inputs[chosen]).max())
            if len(slots) < most:
                slots.append(int(row))
                scores.append(score)
            elif score < 1:
                slot = _drawn(np.array(scores), which)
                if come * (scores[slot] + score) < scores[slot]:
                    slots[slot], scores[slot] = int(row), score
        self.scores = np.array(scores, dtype=np.float64)
        self.offered += len(order)
        return np.array(slots, dtype=np.int64)

    def state_dict(self) -> dict[str, Any]:
        return {"scores": torch.from_numpy(self.scores.copy()), "offered": self.offered}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.scores, self.offered = state["scores"].numpy().copy(), state["offered"]


def cosines(error: Numbers, features: Numbers, errors: Numbers, inputs: Numbers) -> Numbers:
    """Return the cosines of a row's gradient and the mean gradients of k subsets of n rows, float64 [k].

    A gradient is the outer product of its two factors, which is never made: products of gradients are products of the
    factors' products. One of length 0 has the cosine 0 to all.

    Args:
        error, features: factors of the row's gradient, float64 [S] and [d].
        errors, inputs: those of the subsets' rows, float64 [k, n, S] and [k, n, d].
    """
    products = ((errors @ error) * (inputs @ features)).sum(axis=1)
    between = (errors @ errors.transpose(0, 2, 1)) * (inputs @ inputs.transpose(0, 2, 1))
    lengths = np.sqrt((error @ error) * (features @ features) * np.maximum(between.sum(axis=(1, 2)), 0))
    found: Numbers = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    return found.clip(-1, 1)


def _drawn(scores: Numbers, u: float) -> int:
    """Return a place drawn in proportion to scores [m] by u in 0..1; of scores that are all 0 any."""
    sums = scores.cumsum() if scores.sum() > 0 else np.ones_like(scores).cumsum()
    return min(int(np.searchsorted(sums, u * sums[-1], side="right")), len(scores) - 1)
