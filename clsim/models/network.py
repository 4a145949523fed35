"""A backbone with a multi-label head that grows by one row a class."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from clsim.models.tiny_resnet import TinyResNet
from clsim.randomness import derive_seed

BACKBONES = {"tiny-resnet": TinyResNet}


class GrowingHead(nn.Module):
    """Linear multi-label head, one row a seen class; its columns follow the stream's class order.

    Rows of earlier classes keep their weights when it grows. New rows are drawn from U(-1/sqrt(d), 1/sqrt(d)), as
    torch's own Linear, by a generator of (seed, column), with bias 0: nothing depends on what ran before.

    Args:
        n_features: width d of the input.
        seed: the run's seed.
    """

    def __init__(self, n_features: int, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.weight = nn.Parameter(torch.empty(0, n_features))
        self.bias = nn.Parameter(torch.empty(0))

    @property
    def n_classes(self) -> int:
        return self.weight.shape[0]

    def grow(self, n_classes: int) -> None:
        """Have rows for the first `n_classes` columns; fewer than now is an error, as many is a no-op."""
        known = self.n_classes
        if n_classes < known:
            raise ValueError(f"a head of {known} classes cannot shrink to {n_classes}")
        if n_classes == known:
            return
        rows = torch.stack([self._initial_row(column) for column in range(known, n_classes)])
        like = self.weight.detach()
        self.weight = nn.Parameter(torch.cat([like, rows.to(like)]))
        self.bias = nn.Parameter(torch.cat([self.bias.detach(), like.new_zeros(n_classes - known)]))

    def _initial_row(self, column: int) -> Tensor:
        n_features = self.weight.shape[1]
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "head", column))
        return (torch.rand(n_features, generator=generator) * 2 - 1) / math.sqrt(n_features)

    def forward(self, features: Tensor) -> Tensor:
        """Logits float [B, n_classes] of features float [B, d]."""
        return nn.functional.linear(features, self.weight, self.bias)


class MultiLabelNet(nn.Module):
    """Backbone and growing head: images float [B, 3, H, W] in -1..1 -> logits float [B, seen classes]."""

    def __init__(self, backbone: nn.Module, head: GrowingHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x))


def build_model(name: str, seed: int) -> MultiLabelNet:
    """A freshly initialised network with a head of no classes.

    The weights depend on the seed alone; torch's global generator is left as it was.

    Args:
        name: one of `BACKBONES`.
        seed: the run's seed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(seed, "model"))  # torch.manual_seed would reach the GPUs' too
        backbone = BACKBONES[name]()
    return MultiLabelNet(backbone, GrowingHead(backbone.n_features, seed))
