"""The global random generators, for what draws from them: dropout and stock plugins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from clsim.global_generators import seed_all
from clsim.randomness import derive_seed


def seed_generators(seed: int, *purpose: Any, device: torch.device) -> None:
    """Seed Python's, NumPy's and torch's global generators from (seed, purpose), for dropout and stock plugins."""
    seed_all(derive_seed(seed, *purpose), device)


def torch_generators(device: torch.device) -> list[Tensor]:
    """Where torch's global generators stand, of the CPU and of a GPU if that is the device."""
    states = [torch.random.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


@contextmanager
def drawing_again(states: list[Tensor], device: torch.device) -> Iterator[None]:
    """Inside it torch's global generators draw once more what they have drawn since `states` were taken."""
    gpu = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpu):
        torch.random.set_rng_state(states[0])
        if gpu:
            torch.cuda.set_rng_state(states[1], device)
        yield
