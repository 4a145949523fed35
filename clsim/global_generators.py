"""The global random generators of Python, NumPy and torch, borrowed for code that draws from them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def drawn_from(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed the global generators for a block, and put them back as they were after it.

    Args:
        seed: 0 ... 2^64 - 1.
        device: whose generator is seeded too; None: a CPU.
    """
    states = random.getstate(), np.random.get_state()  # noqa: NPY002  what a user's code may draw from
    with torch_restored(device):
        seed_all(seed, device)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002


def seed_all(seed: int, device: torch.device | None = None) -> None:
    """Seed Python's, NumPy's and torch's global generators, of GPUs only where `device` is one."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would reach the GPUs' too
    if device is not None and device.type == "cuda":
        torch.cuda.manual_seed_all(seed)
    elif device is not None and device.type == "mps":
        torch.mps.manual_seed(seed)


def device_state(device: torch.device | None) -> torch.Tensor | None:
    """Return where the global generator of a GPU stands, uint8 [n]; None for a CPU."""
    if device is not None and device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device is not None and device.type == "mps" else None


def set_device_state(state: torch.Tensor | None, device: torch.device | None) -> None:
    """Put the global generator of a GPU where `device_state` found it."""
    if state is not None and device is not None:
        torch.mps.set_rng_state(state) if device.type == "mps" else torch.cuda.set_rng_state(state, device)


@contextmanager
def torch_restored(device: torch.device | None) -> Iterator[None]:
    """Put torch's global generators, of the CPU and of `device`, back after the block."""
    state = device_state(device)
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            set_device_state(state, device)
