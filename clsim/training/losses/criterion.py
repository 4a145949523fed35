"""The criterion that a scenario's `training.loss` names."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from clsim.scenario.training_schema import LossSection
from clsim.training.losses.binary import asymmetric, focal, masked_bce
from clsim.training.losses.class_counts import CountedLoss
from clsim.training.losses.class_frequencies import class_balanced, distribution_balanced, logit_adjusted
from clsim.training.losses.softmax import cross_entropy, logit_adjusted_cross_entropy

PLAIN: dict[str, Callable[..., Tensor]] = {
    "bce": masked_bce,
    "focal": focal,
    "asl": asymmetric,
    "cross-entropy": cross_entropy,
}
"""Losses of logits and targets alone."""
COUNTED: dict[str, Callable[..., Tensor]] = {
    "db": distribution_balanced,
    "logit-adjusted": logit_adjusted,
    "class-balanced": class_balanced,
    "logit-adjusted-ce": logit_adjusted_cross_entropy,
}
"""Losses that also need the class counts of the task."""


def base_loss(config: LossSection) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss as a function of (logits, targets); a `CountedLoss` is also a plugin and must be run as one."""
    options: dict[str, Any] = config.model_dump(exclude={"name"})
    if config.name in COUNTED:
        return CountedLoss(partial(COUNTED[config.name], **options))
    return partial(PLAIN[config.name], **options)
