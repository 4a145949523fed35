"""Streams and networks to time: random images and labels, as many classes and tasks as asked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from clsim.models.build import build_model
from clsim.models.head import GrowingHead
from clsim.models.network import MultiLabelNet
from clsim.scenario import Scenario, load_scenario
from clsim.scenario.training_schema import ModelSection


@dataclass(frozen=True)
class RandomSource:
    """An ImageSource of noise: each image has two positives among `n_classes`."""

    n_classes: int
    train: int
    test: int

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        return tuple(f"class-{c:04d}" for c in range(self.n_classes))

    def labels(self, split: str) -> NDArray[np.int8]:
        n = getattr(self, split)
        labels = np.zeros((n, self.n_classes), dtype=np.int8)
        first = np.arange(n) % self.n_classes
        labels[np.arange(n), first] = 1
        labels[np.arange(n), (first + 1) % self.n_classes] = 1
        return labels

    def images(self, split: str, size: int) -> NDArray[np.uint8]:
        rng = np.random.default_rng(0)
        return rng.integers(0, 256, (getattr(self, split), 3, size, size), dtype=np.uint8)

    def check_size(self, size: int) -> None:
        """Any size."""

    def fingerprint(self) -> str:
        return "noise"


def scenario(source: RandomSource, **overrides: Any) -> Scenario:
    """A scenario on a random source; overrides with `__` for dots: training__epochs=1."""
    keys = {key.replace("__", "."): value for key, value in overrides.items()}
    return Scenario(load_scenario("digits-b0c2", {"threads": torch.get_num_threads()} | keys).config, source)


def network(name: str, size: int) -> MultiLabelNet:
    """A network without classes: mlp (two hidden layers of 256 on flattened pixels), or a backbone as a run has it."""
    if name != "mlp":
        return build_model(ModelSection(name=name, image_size=size), seed=0)
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(3 * size * size, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU()]
    return MultiLabelNet(nn.Sequential(*layers), GrowingHead(256, seed=0))
