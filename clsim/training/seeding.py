"""The global random generators, for what draws from them: dropout and stock plugins."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from clsim.randomness import derive_seed


def seed_generators(seed: int, *purpose: Any, device: torch.device) -> None:
    """Seed Python's, NumPy's and torch's global generators from (seed, purpose), for dropout and stock plugins."""
    derived = derive_seed(seed, *purpose)
    random.seed(derived)
    np.random.seed(derived % 2**32)  # noqa: NPY002  the global generator is what stock plugins use
    torch.default_generator.manual_seed(derived)
    if device.type == "cuda":
        torch.cuda.manual_seed_all(derived)
