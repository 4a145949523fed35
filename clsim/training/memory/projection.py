"""Gradients that do not raise the loss of a memory (A-GEM)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clsim.models.evaluation_mode import in_evaluation_mode
from clsim.scenario.stream.rows import RowStore
from clsim.training.learner import Learner
from clsim.training.memory.replay import Replay
from clsim.training.memory.store import Memory
from clsim.training.unknown import assume_negative
from clsim.transfer import sent

Unknown = Literal["negative", "ignore"]


def projected(gradient: Tensor, reference: Tensor) -> Tensor:
    """Return g - min(0, g'r) / r'r r: the gradient nearest to g whose product with r is not negative.

    Args:
        gradient, reference: g and r, float [P]. Where g'r is not negative g is returned as it is; no host waits for
            that decision.
    """
    size = torch.dot(reference, reference).clamp(min=torch.finfo(reference.dtype).tiny)
    return gradient - torch.dot(gradient, reference).clamp(max=0) / size * reference


class GradientProjection(Replay):
    """Projects the gradient of each step so that it does not raise the loss of rows drawn from the memory.

    The rows are no part of the batch, and so of no other term. DECIDED: they are not augmented, and the network is in
    evaluation mode for them, so that they move no statistics of batch norm.

    Args:
        memory: what is stored.
        store: where the images of row ids are.
        count: memory rows for each step; None: as many as the batch has.
        current_classes, other_classes: what unknown labels of the memory rows mean in their loss: absent, or left out;
            for the classes of the current task and for all other seen ones.
    """

    def __init__(
        self, memory: Memory, store: RowStore, count: int | None, current_classes: Unknown, other_classes: Unknown
    ) -> None:
        super().__init__(memory, store, "paired", current_classes, other_classes)
        self.count = count

    def share(self, new: int) -> float:
        return 0.0

    def turns(self, new_rows: int) -> float:
        return 0.0

    def before_training_iteration(self, learner: Learner, **kwargs: Any) -> None:
        """Leave the batch as it is."""

    def after_backward(self, learner: Learner, **kwargs: Any) -> None:
        drawn = self.memory.draw(self.count or learner.batch_rows, *learner.position.place)
        trained = [theta for theta in learner.model.parameters() if theta.grad is not None]
        if not len(drawn) or not trained:
            return
        reference = self._reference(learner, drawn, trained)
        gradients = [theta.grad for theta in trained if theta.grad is not None]
        flat = projected(torch.cat([gradient.flatten() for gradient in gradients]), reference)
        for gradient, part in zip(gradients, flat.split([theta.numel() for theta in trained]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def _reference(self, learner: Learner, drawn: NDArray[np.int64], trained: list[torch.nn.Parameter]) -> Tensor:
        """The gradient of the loss of memory rows, float [P]; several ranks have a part of the rows each."""
        part = learner.part(len(drawn))
        own = drawn[part.rows]
        found: tuple[Tensor | None, ...] = (None,) * len(trained)
        if len(own):
            x = self.store.images(self.memory.rows[own], learner.device)
            with in_evaluation_mode(learner.model):
                loss = learner.loss_of(learner.logits(learner.model, x), self._targets(learner, own))
            found = torch.autograd.grad(loss * (len(own) / len(drawn)), trained, allow_unused=True)
        flat = [torch.zeros_like(t) if g is None else g for t, g in zip(trained, found, strict=True)]
        return learner.summed(torch.cat([gradient.flatten() for gradient in flat]))

    def _targets(self, learner: Learner, drawn: NDArray[np.int64]) -> Tensor:
        targets = torch.from_numpy(self.memory.labels[drawn])
        current = learner.experience.classes_in_this_experience
        if self.current_classes == "negative":
            assume_negative(targets, current)
        if self.other_classes == "negative":
            assume_negative(targets, learner.experience.old_classes)
        return sent(targets, learner.device)
