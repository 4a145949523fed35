"""The forward pass in the precision and memory layout that a scenario asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor, nn

from clsim.models.autocast import without_autocast
from clsim.models.network import MultiLabelNet
from clsim.scenario.training_schema import TrainingSection

Network = TypeVar("Network", bound=nn.Module)


def run_network(network: nn.Module, x: Tensor, config: TrainingSection) -> Tensor:
    """Run a network, or a backbone alone, on images [B, 3, H, W] or features [B, d], float; float32 [B, outputs]."""
    if x.ndim == 4 and _channels_last(config, x.device):
        x = x.contiguous(memory_format=torch.channels_last)
    kind = x.device.type
    lower = torch.autocast(kind, torch.bfloat16) if config.precision == "bfloat16" else without_autocast(kind)
    alone = len(x) == 1 and network.training
    with lower, _batch_norm_of_one_row(network) if alone else nullcontext():
        output: Tensor = network(x)
    return output.float()


def laid_out(network: Network, config: TrainingSection, device: torch.device) -> Network:
    """Return a network, moved to a device, with kernels in the memory layout that is computed with there."""
    network.to(device)
    if config.model.channels_last == "auto" and _channels_last(config, device):
        network.to(memory_format=torch.channels_last)
    if isinstance(network, MultiLabelNet):
        compile_backbone(network, config, device)
    return network


def compile_backbone(network: MultiLabelNet, config: TrainingSection, device: torch.device) -> None:
    """Have torch compile the backbone once, in place, if the scenario says so and the device is CUDA.

    Not the whole network: each growth of the head would ask for another graph. Names of weights stay; a copy of the
    network, such as a teacher, is not compiled, nor is a backbone out of which a head's maps are taken.
    """
    wanted = config.compile == "backbone" and device.type == "cuda" and network.head.reads == "features"
    if wanted and network.backbone._compiled_call_impl is None:
        network.backbone.compile()


def _channels_last(config: TrainingSection, device: torch.device) -> bool:
    """Tell whether images and kernels have their channels last; on a CPU and for `auto` each convolution decides."""
    asked = config.model.channels_last
    return device.type not in ("cpu", "mps") if asked == "auto" else asked


@contextmanager
def _batch_norm_of_one_row(network: nn.Module) -> Iterator[None]:
    """Let batch norm take its stored statistics where a batch of one row has one value per channel.

    A variance of one value does not exist, and torch raises an error. Larger maps train on one row as always.
    """
    hooks = []

    def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0].numel() == inputs[0].shape[1]:
            module.training = False

    def after(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        module.training = True

    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
            hooks += [module.register_forward_pre_hook(before), module.register_forward_hook(after, always_call=True)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
