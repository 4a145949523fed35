"""Tests on a GPU of NVIDIA; all are skipped where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from clsim.running.gpu import set_arithmetic
from clsim.scenario import load_scenario


@pytest.fixture(autouse=True)
def gpu() -> Iterator[torch.device]:
    """The GPU, computing as a run has it."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here; these tests have not run on one yet")
    set_arithmetic(load_scenario("digits-b0c2").config.training, "cuda")
    yield torch.device("cuda")
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def on_gpu(build: Callable[..., Any], learn: Callable[..., Any]) -> Callable[..., Any]:
    """Trains two tasks of a strategy on the GPU and returns the template."""

    def run(spec: str, **settings: Any) -> Any:
        return learn(build(spec, device="cuda", **settings), tasks=2)

    return run
