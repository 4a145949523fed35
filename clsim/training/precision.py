"""The forward pass in the precision and memory layout that a scenario asks for."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clsim.scenario.training_schema import TrainingSection


def run_network(network: nn.Module, x: Tensor, config: TrainingSection) -> Tensor:
    """Run a network, or a backbone alone, on images [B, 3, H, W] or features [B, d], float; float32 [B, outputs]."""
    if config.model.channels_last is True and x.ndim == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    with torch.autocast(x.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
        output: Tensor = network(x)
        return output.float()
