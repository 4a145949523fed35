"""Batch norm over the rows of all ranks; torch's own needs GPUs."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from clsim.errors import RunError
from clsim.training.ranks import Ranks, others_needed


def synchronise(model: nn.Module, ranks: Ranks) -> None:
    """Let batch norm of a network in training take mean and variance over the rows of all ranks.

    Raises:
        RunError: a batch norm of another make, whose statistics would be those of a rank.
    """
    if ranks.alone:
        return
    for name, module in model.named_modules():
        if not isinstance(module, nn.modules.batchnorm._BatchNorm) or isinstance(module, SyncedBatchNorm):
            continue
        if type(module) in _SYNCED:
            module.__class__ = _SYNCED[type(module)]
            cast(SyncedBatchNorm, module).ranks = ranks
        elif module.training and type(module) is not nn.SyncBatchNorm:
            raise RunError(
                f"{name} is a {type(module).__name__}, which cannot be synchronised between ranks; freeze it with "
                "training.model.freeze=batch-norm, or run it in one process"
            )


class SyncedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm whose mean and variance in training are over the rows of all ranks."""

    ranks: Ranks

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x [B, C, ...]; with an undivided batch, and in evaluation mode, as ever."""
        if not self.training or not self.ranks.divided:
            return super().forward(x)
        self._check_input_dim(x)
        rows, inner = x.float(), [0, *range(2, x.ndim)]
        variance, mean = torch.var_mean(rows, inner, correction=0)
        number = mean.new_full((1,), rows.numel() / rows.shape[1])
        own = torch.cat([mean, variance, number])
        table = [own if rank == self.ranks.rank else torch.zeros_like(own) for rank in range(self.ranks.count)]
        means, variances, numbers = _Summed.apply(torch.stack(table)).split([len(mean), len(mean), 1], dim=1)
        share = numbers / numbers.sum()
        mean = (share * means).sum(dim=0)
        variance = (share * (variances + (means - mean).square())).sum(dim=0)
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            self._update(mean.detach(), variance.detach(), float(numbers.detach().sum()))
        scale = (variance + self.eps).rsqrt()
        shape = [1, -1, *([1] * (x.ndim - 2))]
        normalised = (rows - mean.view(shape)) * scale.view(shape)
        if self.affine:
            normalised = normalised * self.weight.view(shape) + self.bias.view(shape)
        return normalised.to(x.dtype)

    def _update(self, mean: Tensor, variance: Tensor, number: float) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        factor = self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            factor = 1 / float(self.num_batches_tracked) if factor is None else factor
        assert factor is not None
        self.running_mean.lerp_(mean, factor)
        self.running_var.lerp_(variance * number / max(1, number - 1), factor)


_SYNCED: dict[type, type] = {
    kind: type(f"Synced{kind.__name__}", (SyncedBatchNorm, kind), {})
    for kind in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
}


class _Summed(torch.autograd.Function):
    """The sum over the ranks, forwards and backwards."""

    @staticmethod
    def forward(context: Any, value: Tensor) -> Tensor:
        summed = value.clone()
        with others_needed():
            dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return _Summed.forward(context, gradient.contiguous())
