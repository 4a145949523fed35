"""A backbone with a multi-label head that grows by one row a class."""

from __future__ import annotations

import math
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from clsim.randomness import derive_seed


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
        """Logits [B, n_classes] of features float [B, d], in the precision of the weights.

        Not in that of an autocast around it: of 800 images scored in bfloat16 most would tie with another.
        """
        kind = features.device.type
        with torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext():
            return nn.functional.linear(features.to(self.weight.dtype), self.weight, self.bias)


class MultiLabelNet(nn.Module):
    """Backbone, perhaps a hidden layer, and growing head: images float [B, 3, H, W] -> logits float [B, seen classes].

    Args:
        backbone: images -> features float [B, d].
        head: what the head reads, float [B, h] -> logits.
        hidden: features -> what the head reads; None: the features themselves.
        frozen_statistics: batch norm of the backbone always uses its stored statistics and never updates them.
    """

    def __init__(
        self, backbone: nn.Module, head: GrowingHead, hidden: nn.Module | None = None, frozen_statistics: bool = False
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.hidden = nn.Identity() if hidden is None else hidden
        self.head = head
        self.frozen_statistics = frozen_statistics

    @property
    def trunk(self) -> nn.Module:
        """All but the head: images -> what the head reads, float [B, h]."""
        return nn.Sequential(self.backbone, self.hidden)

    def train(self, mode: bool = True) -> MultiLabelNet:
        super().train(mode)
        if self.frozen_statistics:
            for module in self.backbone.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.hidden(self.backbone(x)))
