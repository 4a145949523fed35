"""Weights W = G + BA of a general and a low-rank part, of which the latter can be switched off, and merged into G.

The decomposition of MORE (Luo et al., "Long-tailed Recognition with Model Rebalancing", NeurIPS 2025). A convolution's
kernel counts as the matrix [C_out, C_in k k]; norms, biases, embeddings and the growing head are shared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.utils import parametrize

from clsim.models.autocast import without_autocast
from clsim.models.head import Head
from clsim.randomness import derive_seed

OF_ATTENTION = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
"""Linear maps that torch's MultiheadAttention holds itself; its output projection is a Linear of its own."""


@dataclass(frozen=True)
class Factors:
    """How the factors A and B are made and learn.

    Attributes:
        ratio: rank of a weight as a share of its smaller dimension; see `rank_of`.
        init_b: standard deviation of B at the start; 0: B = 0.
        lr_factor: learning rate of A and B, as a multiple of that of all other weights.
    """

    ratio: float = 0.1
    init_b: float = 0.0
    lr_factor: float = 1.0


def rank_of(shape: Sequence[int], ratio: float) -> int:
    """r = max(1, round(ratio min(C_out, C_in k k))) of a weight of this shape."""
    return max(1, round(ratio * min(shape[0], math.prod(shape[1:]))))


class LowRank(nn.Module):
    """The parametrisation W = G + BA of one weight, which starts at the W that is there.

    DECIDED: A as torch draws a Linear, uniform in +-1/sqrt(n), the Kaiming form customary for low-rank updates. Where B
    does not start at 0, G gives up what BA takes, so that the full path always starts as the model that is there.

    Attributes:
        a: A, float [r, n], n the product of all dimensions of W but the first.
        b: B, float [m, r].
        switched_on: False leaves G alone.
        lr_factor: see `build_optimizer` in clsim.training.optimization.

    Args:
        weight: W, float [m, ...].
        factors: see there.
        siblings: names of the parameters of W's module, in order.
        seed: of the initial A and B.
    """

    def __init__(self, weight: Tensor, factors: Factors, siblings: Sequence[str], seed: int) -> None:
        super().__init__()
        rank, n = rank_of(weight.shape, factors.ratio), weight[0].numel()
        generator = torch.Generator().manual_seed(seed)
        bound = 1 / math.sqrt(n)
        a = (torch.rand(rank, n, generator=generator) * 2 - 1) * bound
        b = torch.randn(len(weight), rank, generator=generator) * factors.init_b
        self.a = nn.Parameter(a.to(weight))
        self.b = nn.Parameter(b.to(weight))
        self.siblings = tuple(siblings)
        self.lr_factor = factors.lr_factor
        self.switched_on = True

    def product(self, shape: torch.Size) -> Tensor:
        """BA in the shape of W, and in its precision also where an autocast is on, so that merging is exact."""
        with without_autocast(self.a.device.type):
            return (self.b @ self.a).view(shape)

    def forward(self, general: Tensor) -> Tensor:
        if not self.switched_on:
            return general
        if general.is_contiguous():  # faster than `addmm`, and than BA in memory of its own
            with without_autocast(general.device.type):
                return (self.b @ self.a).add_(general.flatten(1)).view(general.shape)
        return general + self.product(general.shape)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """G of a W."""
        return weight - self.product(weight.shape)


def decomposable(model: nn.Module) -> tuple[list[str], list[str]]:
    """Trainable weights that can be decomposed, and those of grouped convolutions, which are left as they are.

    Returns:
        Names as in `model.named_parameters()`, in its order: two-dimensional convolutions and linear maps, those inside
        attention too. DECIDED: grouped and depthwise kernels are no one matrix, and have few weights. A `Head` stays
        whole, whatever it consists of.
    """
    taken: list[str] = []
    left_out: list[str] = []
    heads = {part for head in model.modules() if isinstance(head, Head) for part in head.modules()}
    for module_name, module in model.named_modules():
        if module in heads:
            continue
        names: Sequence[str] = OF_ATTENTION if isinstance(module, nn.MultiheadAttention) else ()
        if isinstance(module, nn.Conv2d | nn.Linear):
            names = ("weight",)
        for name in names:
            weight = module._parameters.get(name)  # not there once it has been decomposed
            if weight is not None and weight.requires_grad:
                grouped = isinstance(module, nn.Conv2d) and module.groups > 1
                (left_out if grouped else taken).append(f"{module_name}.{name}" if module_name else name)
    return taken, left_out


def decompose(model: nn.Module, names: Sequence[str], factors: Factors, seed: int) -> None:
    """Turn the named weights into G + BA, in place; the model says what it said.

    Args:
        names: as from `decomposable`.
        seed: each weight's initial A and B are drawn by (seed, its name).
    """
    for full_name in names:
        module_name, _, name = full_name.rpartition(".")
        module = model.get_submodule(module_name)
        weight = module._parameters[name]
        assert weight is not None
        low_rank = LowRank(weight, factors, list(module._parameters), derive_seed(seed, "low-rank", full_name))
        parametrize.register_parametrization(module, name, low_rank)


def merge(model: nn.Module) -> None:
    """Turn every G + BA into the one weight it stands for, in place: the modules and names there were before."""
    for module in list(model.modules()):
        for name, low_rank in _own_low_rank(module):
            parametrize.remove_parametrizations(module, name)
            for sibling in low_rank.siblings:  # torch has put the merged one last
                module._parameters[sibling] = module._parameters.pop(sibling)


def low_rank_parts(model: nn.Module) -> dict[str, LowRank]:
    """The parametrisations in a model by the names that their weights have when merged."""
    return {
        f"{module_name}.{name}" if module_name else name: low_rank
        for module_name, module in model.named_modules()
        for name, low_rank in _own_low_rank(module)
    }


def times_weight(module: nn.Module, rows: Tensor) -> Tensor:
    """X W^T with a module's `weight` as a matrix: where that is decomposed as X G^T + (X A^T) B^T, without composing W.

    Args:
        rows: X, float [P, n]; cheaper than composing W where P is small.

    Returns:
        Float [P, m].
    """
    low_rank = dict(_own_low_rank(module)).get("weight")
    if low_rank is None:
        return linear(rows, module.weight.flatten(1))  # type: ignore[operator]
    general = module.parametrizations.weight.original  # type: ignore[union-attr]
    product = linear(rows, general.flatten(1))  # type: ignore[operator]
    return product + linear(linear(rows, low_rank.a), low_rank.b) if low_rank.switched_on else product


@contextmanager
def general_path(model: nn.Module) -> Iterator[None]:
    """Inside it the model computes with G alone, and batch norm leaves its running statistics as they are.

    Batch norm in train mode goes on normalising by the statistics of the batch.
    """
    parts = [module for module in model.modules() if isinstance(module, LowRank)]
    norms = [
        module
        for module in model.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    ]
    try:
        for part in parts:
            part.switched_on = False
        for norm in norms:
            norm.track_running_stats = False
        yield
    finally:
        for part in parts:
            part.switched_on = True
        for norm in norms:
            norm.track_running_stats = True


@torch.no_grad()
def relative_sizes(model: nn.Module) -> dict[str, float]:
    """||BA|| / ||W|| (Frobenius) of each decomposed weight, by its name when merged; NaN where W is 0."""
    sizes = {}
    for name, low_rank in low_rank_parts(model).items():
        module_name, _, own_name = name.rpartition(".")
        weight = getattr(model.get_submodule(module_name), own_name)
        sizes[name] = float(low_rank.product(weight.shape).norm() / weight.norm())
    return sizes


def _own_low_rank(module: nn.Module) -> list[tuple[str, LowRank]]:
    if not parametrize.is_parametrized(module):
        return []
    chains = module.parametrizations
    assert isinstance(chains, nn.ModuleDict)
    return [(name, chain[0]) for name, chain in chains.items() if isinstance(chain[0], LowRank)]  # type: ignore[index]
