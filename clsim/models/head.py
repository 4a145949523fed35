"""What stands on a network's features and has one output per class seen so far."""

from __future__ import annotations

import math
from itertools import chain
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from clsim.errors import RunError
from clsim.models.autocast import without_autocast
from clsim.randomness import derive_seed


class Head(nn.Module):
    """Base of heads: features float [B, d] -> logits float [B, S], one column per seen class in the stream's order.

    A head of your own overrides `add_classes` and `logits`. It may consist of any modules. Two rules make a run with it
    resume exactly: names and shapes of its state follow from `growth` alone, and what it draws comes from `generator`.

    Attributes:
        reads: what it is given: "features" float [B, d]; or "maps" of the backbone, float [B, d, h, w], of a
            transformer patch tokens [B, N, d].
        n_features: width d of the features.
        seed: the run's seed.
        growth: numbers of classes it has grown to, ascending, such as (4, 8, 10) after three tasks.

    Args:
        n_features: see the attributes.
        seed: see the attributes.
    """

    reads: ClassVar[Literal["features", "maps"]] = "features"

    def __init__(self, n_features: int, seed: int) -> None:
        super().__init__()
        self.n_features = n_features
        self.seed = seed
        self.growth: tuple[int, ...] = ()

    @property
    def n_classes(self) -> int:
        """Number of outputs S."""
        return self.growth[-1] if self.growth else 0

    def grow(self, n_classes: int) -> None:
        """Have outputs for the first `n_classes` columns; as many as now is a no-op.

        Raises:
            ValueError: fewer than now.
        """
        known = self.n_classes
        if n_classes < known:
            raise ValueError(f"a head of {known} classes cannot shrink to {n_classes}")
        if n_classes > known:
            self.add_classes(range(known, n_classes))
            self.growth = (*self.growth, n_classes)

    def add_classes(self, columns: range) -> None:
        """Make room for new outputs, once a task; those of earlier classes keep their weights.

        Args:
            columns: the new outputs. `n_classes` is still that before them.
        """
        raise NotImplementedError

    def logits(self, features: Tensor) -> Tensor:
        """Return the logits [B, S] of features [B, d], or of maps; they have the precision of the head's weights."""
        raise NotImplementedError

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits, in the precision of the weights.

        Not in that of an autocast around it: of 800 images scored in bfloat16 most would tie with another.

        Raises:
            RunError: `logits` gave another shape than [B, n_classes].
        """
        with without_autocast(features.device.type):
            logits = self.logits(features.to(self._precision))
        if logits.shape != (len(features), self.n_classes):
            expected = [len(features), self.n_classes]
            raise RunError(f"{type(self).__name__}: gave logits {list(logits.shape)}, expected {expected}")
        return logits

    def generator(self, *purpose: str | int) -> torch.Generator:
        """Return a generator on the CPU that depends on the seed and `purpose` alone, such as a column."""
        return torch.Generator().manual_seed(derive_seed(self.seed, "head", *purpose))

    @property
    def _precision(self) -> torch.dtype:
        tensors = (tensor.dtype for tensor in chain(self.parameters(), self.buffers()) if tensor.is_floating_point())
        return next(tensors, torch.float32)


class TokenHead(Head):
    """Base of heads that compute tokens from an image's map, and logits from the tokens.

    A head of your own overrides `add_classes`, `tokens` and `classified`. The `Outputs` of a step, of student and
    teacher, contain the result of `tokens`.

    Attributes:
        tap: passes the tokens on; `Outputs` are noted there.
    """

    reads = "maps"

    def __init__(self, n_features: int, seed: int) -> None:
        super().__init__(n_features, seed)
        self.tap = nn.Identity()

    def tokens(self, maps: Tensor) -> Tensor:
        """Return the tokens float [B, K, e] of maps [B, d, h, w] or [B, N, d]; see `positions`."""
        raise NotImplementedError

    def classified(self, tokens: Tensor) -> Tensor:
        """Return the logits [B, S] of tokens."""
        raise NotImplementedError

    def logits(self, features: Tensor) -> Tensor:
        return self.classified(self.tap(self.tokens(features)))


def positions(maps: Tensor) -> Tensor:
    """Return maps as one row per position, [B, N, d], from [B, d, h, w], row by row of the image, or [B, N, d].

    Example:
        >>> positions(torch.zeros(2, 64, 7, 7)).shape
        torch.Size([2, 49, 64])
    """
    return maps.flatten(2).transpose(1, 2) if maps.ndim == 4 else maps


class GrowingHead(Head):
    """One linear layer, one row per class.

    Rows of earlier classes keep their weights when it grows. New rows are drawn from U(-1/sqrt(d), 1/sqrt(d)), as
    torch's own Linear, by a generator of (seed, column), with bias 0: nothing depends on what ran before.

    Example:
        >>> head = GrowingHead(n_features=8, seed=0)
        >>> head.grow(3)
        >>> head.grow(5)
        >>> head(torch.zeros(2, 8)).shape, head.growth
        (torch.Size([2, 5]), (3, 5))
    """

    def __init__(self, n_features: int, seed: int) -> None:
        super().__init__(n_features, seed)
        self.weight = nn.Parameter(torch.empty(0, n_features))
        self.bias = nn.Parameter(torch.empty(0))

    def add_classes(self, columns: range) -> None:
        rows = torch.stack([self._initial_row(column) for column in columns])
        like = self.weight.detach()
        self.weight = nn.Parameter(torch.cat([like, rows.to(like)]))
        self.bias = nn.Parameter(torch.cat([self.bias.detach(), like.new_zeros(len(columns))]))

    def _initial_row(self, column: int) -> Tensor:
        return (torch.rand(self.n_features, generator=self.generator(column)) * 2 - 1) / math.sqrt(self.n_features)

    def logits(self, features: Tensor) -> Tensor:
        return nn.functional.linear(features, self.weight, self.bias)
