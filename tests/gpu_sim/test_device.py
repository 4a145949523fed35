"""The second device sees what it is there to see."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.fixtures.sim_device import NAME, MixedDevices, Sim

Mistake = Callable[[Tensor], object]


@pytest.mark.parametrize(
    "mix",
    [
        lambda x: x + torch.ones(3),
        lambda x: torch.cat([x, torch.zeros(3)]),
        lambda x: torch.where(x > 0, x, torch.zeros(3)),
        lambda x: x.copy_(x).mul_(torch.ones(3)),
        lambda x: x @ torch.ones(3, 3),
        lambda x: torch.add(x, x, out=torch.empty(3)),
    ],
)
def test_tensors_of_two_devices_do_not_mix(sim: Sim, mix: Mistake) -> None:
    with pytest.raises(MixedDevices):
        mix(torch.ones(3, device=NAME))


def test_a_number_of_the_cpu_may_be_used(sim: Sim) -> None:
    assert (torch.ones(3, device=NAME) * torch.tensor(2.0)).device.type == NAME


def test_numpy_cannot_look_into_the_device(sim: Sim) -> None:
    with pytest.raises(TypeError, match="cpu"):
        torch.ones(3, device=NAME).numpy()


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: float(x.sum()),
        lambda x: bool((x > 0).any()),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: torch.ones(3).to(x.device),
        lambda x: x[x > 0],
        lambda x: x.__setitem__(x > 0, x.clone()),
        lambda x: (x > 0).nonzero(),
        lambda x: torch.bincount(x.long()),
        lambda x: torch.equal(x, x),
        lambda x: x.unique(),
        lambda x: x.copy_(torch.ones(3)),
    ],
)
def test_each_wait_of_the_host_is_counted(sim: Sim, wait: Mistake) -> None:
    x = torch.ones(3, device=NAME)
    before = len(sim.waits)
    wait(x)
    assert len(sim.waits) > before


@pytest.mark.parametrize("make", [lambda x: torch.tensor([1.0, 2.0], device=x.device), lambda x: x.new_tensor(0.5)])
def test_a_tensor_of_numbers_of_the_host_is_refused(sim: Sim, make: Mistake) -> None:
    """A GPU waits for it, and torch makes it where the device cannot see it."""
    with pytest.raises(NotImplementedError):
        make(torch.ones(3, device=NAME))


@pytest.mark.parametrize(
    "free",
    [
        lambda x: torch.ones(3).to(x.device, non_blocking=True),
        lambda x: torch.zeros(3, device=x.device),
        lambda x: x.new_full((), 0.5),
        lambda x: x.masked_fill_(x > 0, 1.0),
        lambda x: x.__setitem__(x > 0, 1.0),
        lambda x: x.index_select(0, torch.zeros(1, dtype=torch.long, device=x.device)),
        lambda x: x.double().half().to(torch.float32),
        lambda x: x.to(x.device),
    ],
)
def test_what_only_asks_for_work_is_no_wait(sim: Sim, free: Mistake) -> None:
    x = torch.ones(3, device=NAME)
    before = len(sim.waits)
    free(x)
    assert sim.waits[before:] == []


def test_gradients_and_optimisers_compute_on_the_device(sim: Sim) -> None:
    network = torch.nn.Linear(3, 2).to(NAME)
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    network(torch.ones(4, 3, device=NAME)).sum().backward()
    before = network.weight.detach().clone()
    optimizer.step()
    assert network.weight.device.type == NAME
    assert not torch.equal(before, network.weight)
