"""The model as it was before the task being trained, held once for all plugins that use it."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from clsim.models.head_input import HeadInput
from clsim.models.network import MultiLabelNet
from clsim.training.learner import Learner
from clsim.training.plugin import Plugin


class Snapshot(Plugin):
    """Holds a frozen copy of the model, in eval mode, taken when a task begins and kept to the end of the task.

    A strategy gets the one of its run from `Context.snapshot`, and hands it to the plugins that need it.

    Attributes:
        model: the copy; None in the first task that is trained.

    Args:
        new_model: makes a network of the run's architecture, to load a saved copy into.
    """

    def __init__(self, new_model: Callable[[], MultiLabelNet]) -> None:
        super().__init__()
        self.new_model = new_model
        self.model: MultiLabelNet | None = None
        self._answered: tuple[weakref.ref[Tensor], tuple[Tensor, Tensor]] | None = None

    def before_train_dataset_adaptation(self, learner: Learner, **kwargs: Any) -> None:
        """Copy the model before its head grows. A resumed task calls this again, and has the copy from its state."""
        if not learner.position.started and learner.model.n_classes:
            self.model = copy.deepcopy(learner.model).eval().requires_grad_(False)

    def on(self, device: torch.device) -> MultiLabelNet | None:
        """Return the copy on a device, moved there once; None in the first task that is trained."""
        if self.model is not None:
            weight = next(self.model.parameters(), None)  # one, because a look at all of them in each step takes long
            if weight is None or weight.device.type != device.type:
                self.model.to(device)
        return self.model

    def logits(self, learner: Learner) -> Tensor | None:
        """Return the copy's logits of the current batch, float [B, O] of its O classes, computed once per batch.

        None in the first task that is trained.
        """
        return None if self.model is None else self._answer(learner)[0]

    def embeddings(self, learner: Learner) -> Tensor | None:
        """Return what the copy's head reads of the current batch, usually float [B, h], from the pass of `logits`."""
        return None if self.model is None else self._answer(learner)[1]

    def _answer(self, learner: Learner) -> tuple[Tensor, Tensor]:
        model, x = self.on(learner.device), learner.mb_x
        assert model is not None
        if self._answered is None or self._answered[0]() is not x:
            read = HeadInput(model.head)
            with torch.no_grad():
                logits = learner.logits(model, x)
            read.close()
            self._answered = weakref.ref(x), (logits, read.value)
        return self._answered[1]

    def state_dict(self) -> dict[str, Any]:
        if self.model is None:
            return {"model": None}
        return {"model": self.model.state_dict(), "growth": self.model.growth}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model = None
        if state["model"] is not None:
            self.model = self.new_model()
            self.model.grow(*state["growth"])
            self.model.load_state_dict(state["model"])
            self.model.eval().requires_grad_(False)
