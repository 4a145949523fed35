"""Logits kept beside the rows of a memory, and the loss that holds the network to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clsim.training.learner import Learner
from clsim.training.memory.replay import Replay
from clsim.training.plugin import Plugin
from clsim.transfer import sent

LOGITS = "logits"
"""Their name in `Memory.payload`: float32 [M, C], nan in columns that the head did not have."""


def stored_logit_distance(logits: Tensor, stored: Tensor, batch: int) -> Tensor:
    """Return the squared distance of logits to stored ones, scalar: per row a mean over stored columns, summed / batch.

    Args:
        logits: float [R, S].
        stored: float [R, S], nan where nothing is stored; a row without any counts 0.
        batch: rows of the whole batch.
    """
    there = ~stored.isnan()
    of_rows = torch.where(there, logits - torch.where(there, stored, 0.0), 0.0).square().sum(dim=1)
    return (of_rows / there.sum(dim=1).clamp(min=1)).sum() / batch


class StoredLogits(Plugin):
    """Store the logits of each row when the memory takes it in, and add terms on memory rows to the loss.

    Logits are those of the model at that time, in evaluation mode, of the image as it is; they are never renewed.

    Args:
        alpha: factor of the distance to the stored logits.
        beta: factor of the classification loss of memory rows, which otherwise counts as that of new rows. The loss
            must be a sum over rows / B, as all of clsim are.
    """

    def __init__(self, alpha: float, beta: float) -> None:
        super().__init__()
        self.alpha = alpha
        self.beta = beta

    def before_backward(self, learner: Learner, **kwargs: Any) -> None:
        replay = _replay(learner)
        if not len(replay.drawn):
            return
        logits, targets = learner.mb_output[replay.place], learner.mb_y[replay.place]
        batch = len(learner.mb_output)
        if self.beta != 1:
            share = len(replay.drawn) / batch
            learner.add_loss("replay", (self.beta - 1) * share * learner.loss_of(logits, targets))
        if self.alpha:
            kept: NDArray[np.float32] = replay.memory.payload[LOGITS][replay.drawn, : logits.shape[1]]
            stored = sent(torch.from_numpy(kept), logits.device)
            learner.add_loss("stored_logits", self.alpha * stored_logit_distance(logits, stored, batch))

    def memory_updated(self, learner: Learner, replay: Replay, **kwargs: Any) -> None:
        """Store the logits of rows that have none."""
        memory = replay.memory
        kept = memory.keep_beside(LOGITS, np.empty(memory.labels.shape[1], dtype=np.float32))
        new = np.flatnonzero(np.isnan(kept[:, 0]))
        if len(new):
            kept[new, : learner.model.n_classes] = learner.scored(learner.model, replay.store, memory.rows[new])

    batch_stored = memory_updated  # in an online stream, after each step

    def state_dict(self) -> dict[str, Any]:
        return {}  # the memory keeps the logits


def _replay(learner: Learner) -> Replay:
    replay = learner.find_plugin(Replay)
    assert replay is not None  # a composition with stored logits needs a memory
    return replay
