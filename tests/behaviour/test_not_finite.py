"""A loss that is not a number stops a run, by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from avalanche.core import SupervisedPlugin

from clsim.errors import RunError
from clsim.training import template as template_module


class Poison(SupervisedPlugin):
    """Adds a term that is not a number in one step."""

    def __init__(self, at: tuple[int, int, int], name: str | None = "poison") -> None:
        super().__init__()
        self.at = at
        self.name = name

    def before_backward(self, strategy: Any, **kwargs: Any) -> None:
        position = strategy.position
        if (position.task, position.epoch, position.step) == self.at:
            if self.name is not None:
                strategy.add_loss(self.name, torch.tensor(float("nan")))
            else:  # as stock plugins do
                strategy.loss = strategy.loss + float("inf")


@pytest.mark.parametrize("every", [1, 2, 50])
def test_a_loss_that_is_not_a_number_stops_the_run_by_name(
    every: int, build: Any, learn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However seldom a device is asked: the first such step is named."""
    monkeypatch.setitem(template_module.LOOK_EVERY, "cpu", every)
    with pytest.raises(RunError, match=r"^loss term 'poison' is nan in task 1, epoch 1, step 1; training stopped$"):
        learn(build(last=[Poison((1, 1, 1))]))
    with pytest.raises(RunError, match=r"^loss term 'total' is inf in task 0, epoch 1, step 2; training stopped$"):
        learn(build(last=[Poison((0, 1, 2), name=None)]))


def test_a_loss_that_is_not_a_number_changes_no_weight(build: Any, learn: Any) -> None:
    template = build(last=[Poison((0, 0, 1))])
    with pytest.raises(RunError, match="poison"):
        learn(template)
    assert all(bool(value.isfinite().all()) for value in template.model.state_dict().values())
