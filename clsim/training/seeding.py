"""The global random generators, for what draws from them: dropout and stock plugins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from clsim.global_generators import device_state, seed_all, set_device_state, torch_restored
from clsim.randomness import derive_seed


def seed_generators(seed: int, *purpose: Any, device: torch.device) -> None:
    """Seed Python's, NumPy's and torch's global generators from (seed, purpose), for dropout and stock plugins."""
    seed_all(derive_seed(seed, *purpose), device)


def torch_generators(device: torch.device) -> list[Tensor]:
    """Return the states of torch's global generators, of the CPU and, if it is the device, of the GPU."""
    state = device_state(device)
    return [torch.random.get_rng_state(), *([] if state is None else [state])]


@contextmanager
def drawing_again(states: list[Tensor], device: torch.device) -> Iterator[None]:
    """Within this context torch's global generators repeat their draws since `states` were taken."""
    with torch_restored(device):
        torch.random.set_rng_state(states[0])
        set_device_state(states[1] if len(states) > 1 else None, device)
        yield
