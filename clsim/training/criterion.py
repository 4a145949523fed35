"""The criterion that a scenario's `training.loss` names."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from clsim.errors import RunError
from clsim.parts import find, made
from clsim.scenario.training_schema import LossSection, OwnLossSection
from clsim.training.class_counts import CountedLoss


def base_loss(config: LossSection) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss as a function of (logits, targets); a `CountedLoss` is also a plugin and must be run as one.

    It is one if the loss has a parameter `counts`.

    Raises:
        PartError: no such loss or options.
    """
    if isinstance(config, OwnLossSection):
        loss: Callable[..., Tensor] = OwnLoss(config.name, made("loss", config.name, config.options, "training.loss"))
    else:
        loss = partial(find("loss", config.name), **config.model_dump(exclude={"name"}))
    return CountedLoss(loss) if "counts" in inspect.signature(getattr(loss, "loss", loss)).parameters else loss


class OwnLoss:
    """A user's loss, which must give one number that depends on the logits.

    Args:
        name: for messages.
        loss: (logits float [B, S], targets float [B, S], 1 present, 0 absent, (0, 1) soft, -1 unknown) -> scalar.
    """

    def __init__(self, name: str, loss: Callable[..., Any]) -> None:
        self.name = name
        self.loss = loss

    def __call__(self, logits: Tensor, targets: Tensor, *counts: Any) -> Tensor:
        """The loss on the columns of the logits.

        Raises:
            RunError: it gives something else than a scalar.
        """
        value = self.loss(logits, targets[:, : logits.shape[1]], *counts)
        if not isinstance(value, Tensor):
            what = type(value).__name__
        elif value.ndim or not value.is_floating_point():
            what = f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
        elif logits.requires_grad and not value.requires_grad:
            what = "a number without a gradient"
        else:
            return value
        raise RunError(f"training.loss: {self.name} gives {what}, expected a float scalar made of the logits")
