"""Networks with a way to compute chosen for each convolution, against one memory layout for all."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

import torch

from benchmarks.timing import side_by_side
from clsim.models.build import build_model
from clsim.scenario.training_schema import ModelSection

WAYS: dict[str, Literal["auto"] | bool] = {"contiguous": False, "channels last": True, "auto": "auto"}
WORKLOADS = (  # network, image size, batch size, rounds
    ("tiny-resnet", 32, 64, 15),
    ("resnet18", 64, 32, 9),
    ("resnet18", 128, 32, 5),
    ("resnet50", 128, 16, 5),
    ("mobilenet_v2", 144, 16, 5),
    ("efficientnet_b0", 128, 16, 5),
    ("convnext_tiny", 128, 16, 5),
)
CLASSES = 10


def measure(name: str, size: int, batch: int, rounds: int) -> list[tuple[str, ...]]:
    """Rows (network, pass, a column of ms for each way, auto / contiguous): CPU time of a batch."""
    training, scoring = {}, {}
    for way, channels_last in WAYS.items():
        model = build_model(ModelSection(name=name, image_size=size, channels_last=channels_last), seed=0)
        model.head.grow(CLASSES)
        x = torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0))
        if channels_last is True:
            x = x.contiguous(memory_format=torch.channels_last)
        training[way] = _forward_and_backward(model, x)
        scoring[way] = _score(model, x)
    rows = []
    for what, ways in (("forward and backward", training), ("scoring", scoring)):
        timings = side_by_side(ways, rounds, time.process_time)
        milliseconds = [f"{1000 * timings[way].seconds:.1f}" for way in WAYS]
        rows.append((f"{name}, {batch} x {size} px", what, *milliseconds, f"{timings['auto'].ratio:.2f}"))
    return rows


def _forward_and_backward(model: torch.nn.Module, x: torch.Tensor) -> Callable[[], None]:
    def work() -> None:
        model.train()
        model.zero_grad()
        model(x).square().mean().backward()

    return work


def _score(model: torch.nn.Module, x: torch.Tensor) -> Callable[[], None]:
    def work() -> None:
        model.eval()
        with torch.no_grad():
            model(x)

    return work
