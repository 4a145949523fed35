"""The model as it was before the task being trained, held once for all plugins that use it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from clsim.models.network import MultiLabelNet
from clsim.training.learner import Learner
from clsim.training.outputs import Outputs, outputs_of
from clsim.training.plugin import Plugin


class Snapshot(Plugin):
    """A frozen copy of the model, in eval mode, taken when a task begins and kept until the task ends.

    A strategy takes it from `Context.snapshot` and passes it to the plugins that need it.

    Attributes:
        model: the copy; None in the first task that is trained.

    Args:
        new_model: makes a network of the run's architecture, to load a saved copy into.
    """

    def __init__(self, new_model: Callable[[], MultiLabelNet]) -> None:
        super().__init__()
        self.new_model = new_model
        self.model: MultiLabelNet | None = None
        self._batch: Tensor | None = None
        self._outputs: Outputs | None = None

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

    def outputs(self, learner: Learner) -> Outputs | None:
        """Return what the copy says of the current batch, without gradient; None in the first task that is trained.

        It is run once per step, in eval mode, for all plugins that ask, from `before_forward` on.
        """
        model = self.on(learner.device)
        if model is None:
            return None
        x = learner.mb_x
        if self._outputs is None or self._batch is not x:
            with torch.no_grad():
                self._outputs = outputs_of(model, lambda: learner.logits(model, x))
            self._batch = x
        return self._outputs

    def after_training_iteration(self, learner: Learner, **kwargs: Any) -> None:
        self._batch = self._outputs = None

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
