"""Convolutions that compute on a CPU in the way that is fastest for their shape."""

from __future__ import annotations

from collections.abc import Callable
from itertools import starmap
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clsim.models.low_rank import times_weight

Kind = TypeVar("Kind", bound=nn.Conv2d)

CHANNELS_LAST = 5_000
"""DECIDED: kernel weights per output position of an image up to which channels come last.

A pass forwards and backwards through 3x3, 1x1 and depthwise convolutions of 16 to 512 channels on 2 to 32 px, in
batches of 16 and 64, takes 0.27 to 0.9 of its time with channels last below about 2,000, as long at 2,000 to 10,000,
and up to twice as long beyond: there the kernel is put into another order for few positions.
"""
PRODUCT = 200_000
"""DECIDED: and from which a matrix product is used, as in the last stage of a ResNet on 64 px.

It takes 0.3 to 1.0 times as long as the convolution at 260,000 to 2,400,000, and 1.2 times at 150,000.
"""


class Convolution(nn.Conv2d):
    """A Conv2d whose input is put in the layout, or into the matrix, that suits its shape; what follows keeps that.

    The way depends on the shapes of kernel and image alone, not on the size of the batch: all batches of a run compute
    alike. On other devices than a CPU it is a Conv2d as any other.
    """

    @classmethod
    def of(cls, plain: nn.Conv2d) -> Convolution:
        """Return a Convolution with the parameters of a Conv2d, without a draw from any generator."""
        return _alike(cls, plain)

    def plain(self) -> nn.Conv2d:
        """Return a Conv2d with its parameters, without a draw from any generator."""
        return _alike(nn.Conv2d, self)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or x.ndim != 4:
            return super().forward(x)
        kernel = self.out_channels * self.in_channels // self.groups * self.kernel_size[0] * self.kernel_size[1]
        density = kernel * self.stride[0] * self.stride[1] / (x.shape[2] * x.shape[3])
        if density <= CHANNELS_LAST:
            return super().forward(x.contiguous(memory_format=torch.channels_last))
        if density > PRODUCT and self.groups == 1 and self._pads_zeros() and not torch.is_autocast_enabled("cpu"):
            return self._as_product(x)
        return super().forward(x.contiguous())

    def _pads_zeros(self) -> bool:
        return self.padding_mode == "zeros" and not isinstance(self.padding, str)

    def _as_product(self, x: Tensor) -> Tensor:
        """Patches [B h w, C_in k k] times the kernel as a matrix."""
        patches = F.unfold(x, self.kernel_size, self.dilation, self.padding, self.stride).transpose(1, 2)  # type: ignore[arg-type]
        height, width = starmap(self._length, enumerate(x.shape[2:]))
        y = times_weight(self, patches.flatten(0, 1)).view(len(x), height * width, self.out_channels)
        if self.bias is not None:
            y = y + self.bias
        return y.transpose(1, 2).reshape(len(x), self.out_channels, height, width)

    def _length(self, dimension: int, length: int) -> int:
        padding, dilation = self.padding[dimension], self.dilation[dimension]
        assert isinstance(padding, int)
        return (length + 2 * padding - dilation * (self.kernel_size[dimension] - 1) - 1) // self.stride[dimension] + 1


def choose_ways(network: nn.Module) -> nn.Module:
    """Return the network with a Convolution in place of each Conv2d; names, parameters and modes stay.

    Modules are exchanged in place, so that only a network that is itself a Conv2d is another object afterwards.
    """
    return _exchanged(network, nn.Conv2d, Convolution.of)


def plain_convolutions(network: nn.Module) -> nn.Module:
    """Return the network with a Conv2d in place of each Convolution, as `choose_ways` found it."""
    return _exchanged(network, Convolution, Convolution.plain)


def _exchanged(network: nn.Module, kind: type[nn.Module], make: Callable[[Any], nn.Module]) -> nn.Module:
    """Exchange all modules of exactly one kind in place."""
    made: dict[nn.Module, nn.Module] = {}
    for name, module in list(network.named_modules(remove_duplicate=False)):
        if type(module) is kind:
            if module not in made:
                made[module] = make(module)
            if not name:
                return made[module]
            network.set_submodule(name, made[module])
    return network


def _alike(kind: type[Kind], convolution: nn.Conv2d) -> Kind:
    """Return a convolution of another kind with the shape and the parameters of one."""
    names = ["in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"]
    shape: dict[str, Any] = {name: getattr(convolution, name) for name in names}
    made = kind(**shape, padding_mode=convolution.padding_mode, bias=convolution.bias is not None, device="meta")
    made.weight, made.bias = convolution.weight, convolution.bias
    return made.train(convolution.training)
