"""Runs of two tiny tasks on the second device and on the CPU.

They have a process of their own, `make gpu-sim`, or the one that tests/behaviour/test_second_device.py starts: torch
must know the device before its first backward pass, and knows no process without it afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from avalanche.core import SupervisedPlugin
from avalanche.logging import BaseLogger

from clsim.training.template import MultiLabelTemplate
from tests.fixtures import sim_device
from tests.fixtures.sim_device import OWN_PROCESS, Sim, simulated

if OWN_PROCESS in os.environ:
    sim_device.register()
else:
    collect_ignore_glob = ["test_*.py"]

PLAIN = {"training.model.channels_last": False}
"""On a CPU `auto` computes convolutions in ways of their own, whose last bits are others."""


@pytest.fixture
def sim() -> Iterator[Sim]:
    """The second device; the test is skipped where torch cannot have it."""
    if (reason := sim_device.missing()) is not None:
        pytest.skip(reason)
    with simulated() as there:
        yield there


class Values(BaseLogger):
    """Every metric value in order."""

    def __init__(self) -> None:
        super().__init__()
        self.values: list[tuple[str, int, Any]] = []

    def log_single_metric(self, name: str, value: Any, x_plot: int) -> None:
        self.values.append((name, x_plot, repr(value)))


class Waits(SupervisedPlugin):
    """Places of the waits in each step; must be the last plugin."""

    def __init__(self, sim: Sim | None) -> None:
        super().__init__()
        self.sim = sim
        self.steps: dict[tuple[int, int, int], list[str]] = {}
        self.before = 0

    def before_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
        self.before = len(self.sim.waits) if self.sim is not None else 0

    def after_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        if self.sim is not None:
            task, epoch, step = strategy.position.place
            self.steps[task, epoch, step - 1] = self.sim.waits[self.before :]
            self.before = len(self.sim.waits)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing is kept."""


@dataclass
class Run:
    """What a run comes to."""

    template: MultiLabelTemplate
    values: list[tuple[str, int, Any]]
    waits: dict[tuple[int, int, int], list[str]] = field(default_factory=dict)

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """Weights and statistics on the CPU."""
        return {name: value.cpu() for name, value in self.template.model.state_dict().items()}

    def waits_per_step(self) -> list[str]:
        """The waits of the step of the second task that has most."""
        return max((waits for (task, *_), waits in self.waits.items() if task), key=len, default=[])


@pytest.fixture
def carried_out(build: Any, learn: Any) -> Callable[..., Run]:
    """Carries out two tasks of a strategy; `sim` says on which device."""

    def run(spec: str, sim: Sim | None = None, overrides: Mapping[str, Any] | None = None, **settings: Any) -> Run:
        values, waits = Values(), Waits(sim)
        settings["overrides"] = PLAIN | dict(overrides or {})
        device = "cpu" if sim is None else sim_device.NAME
        template = build(spec, device=device, loggers=[values], last=[waits], **settings)
        learn(template, tasks=2)
        return Run(template, values.values, waits.steps)

    return run


@pytest.fixture
def alike(sim: Sim, carried_out: Callable[..., Run]) -> Callable[..., Run]:
    """Carries a run out on both devices, sees that they come to the same, and returns that of the second device."""

    def both(spec: str, rounded: Sequence[str] = (), **settings: Any) -> Run:
        there = carried_out(spec, sim, **settings)
        here = carried_out(spec, **settings)
        for one, other in zip(there.values, here.values, strict=True):
            if one[0] in rounded:
                assert float(one[2]) == pytest.approx(float(other[2]), rel=1e-5)
            else:
                assert one == other
        weights = here.weights
        assert all(torch.equal(weights[name], value) for name, value in there.weights.items())
        waits = there.waits_per_step()
        assert not waits, "\n".join(waits)
        return there

    return both
