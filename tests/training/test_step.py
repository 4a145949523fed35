"""The loss terms of a step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from avalanche.core import SupervisedPlugin


def test_a_logged_loss_term_is_its_mean_over_the_steps_of_the_epoch(build: Any, learn: Any) -> None:
    class Sums(SupervisedPlugin):
        def __init__(self) -> None:
            self.steps: list[float] = []
            self.epochs: list[tuple[float, float]] = []

        def after_backward(self, strategy: Any, **kwargs: Any) -> None:
            self.steps.append(float(strategy.loss.detach()))

        def after_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
            losses = strategy.epoch_losses()
            self.epochs.append((losses["total"], float(np.mean(self.steps))))
            assert losses["total"] == pytest.approx(sum(losses.values()) - losses["total"])
            self.steps = []

    sums = Sums()
    learn(build("lwf", last=[sums]))
    for logged, expected in sums.epochs:
        assert logged == pytest.approx(expected)
