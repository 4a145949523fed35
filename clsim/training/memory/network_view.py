"""What the network being trained says of the rows of a memory: what a selection may ask for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from clsim.scenario.stream.rows import RowStore
from clsim.training.learner import Learner

if TYPE_CHECKING:
    from clsim.training.memory.store import Memory

Floats = NDArray[np.float32]
Positions = NDArray[np.int64]


class NetworkView:
    """The network's answers about stored and newly offered rows; `Memory.view` while a selection chooses.

    Rows are named by their positions in the memory. Each answer is computed when it is asked for, by the network as it
    is then, in evaluation mode, without a backward pass through it; nothing is kept. The random generators are left as
    they were.

    Args:
        store: where the images of row ids are.
        memory: the rows, and the labels that they are stored with.
    """

    def __init__(self, learner: Learner, store: RowStore, memory: Memory) -> None:
        self._learner = learner
        self._store = store
        self._memory = memory

    def features(self, positions: Positions) -> Floats:
        """Return one vector of features per row, float32 [n, d], also where the head reads the map."""
        return self._learner.scored(self._learner.model.pooled, self._store, self._memory.rows[positions])

    def logits(self, positions: Positions) -> Floats:
        """Return the logits, float32 [n, S], of images as they are."""
        return self._learner.scored(self._learner.model, self._store, self._memory.rows[positions])

    def probabilities(self, positions: Positions, columns: Positions | None = None) -> Floats:
        """Return the sigmoid of the logits, float32 [n, S], or [n, k] of k columns."""
        return self._learner.probabilities(self._learner.model, self._store, self._memory.rows[positions], columns)

    def losses(self, positions: Positions) -> Floats:
        """Return the classification loss of each row, float32 [n]: the sum over the entries known in the memory."""
        logits = torch.from_numpy(self.logits(positions))
        targets = torch.from_numpy(self._memory.labels[positions])
        return np.array(
            [float(self._learner.loss_of(*row)) for row in zip(logits.split(1), targets.split(1), strict=True)],
            dtype=np.float32,
        )

    def head_gradients(self, positions: Positions) -> tuple[Floats, Floats]:
        """Return the gradient of each row's classification loss by the weights of a linear head, as two factors.

        The gradient of a row, bias included, is the outer product of both.

        Returns:
            The derivatives of the losses by the logits, float32 [n, S]; pooled features and a 1, float32 [n, d + 1].
        """
        logits = torch.from_numpy(self.logits(positions)).requires_grad_()
        targets = torch.from_numpy(self._memory.labels[positions])
        with torch.enable_grad():
            losses = [self._learner.loss_of(*row) for row in zip(logits.split(1), targets.split(1), strict=True)]
            (errors,) = torch.autograd.grad(torch.stack(losses).sum(), logits)
        features = self.features(positions)
        return errors.numpy(), np.concatenate([features, np.ones((len(features), 1), dtype=np.float32)], axis=1)

    def augmented_logits(self, positions: Positions, passes: int) -> Iterator[Floats]:
        """Yield the logits, float32 [n, S], of images changed as `training.augmentation` says, anew in each pass.

        Where the scenario has no augmentation, all passes are alike.
        """
        rows = self._memory.rows[positions]
        for number in range(passes):
            yield self._learner.scored(self._learner.model, self._store, rows, augmented=f"pass {number}")
