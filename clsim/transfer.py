"""Tensors on their way to the device of a run, without the host waiting for it."""

from __future__ import annotations

import torch
from torch import Tensor


def sent(x: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device; a copy to a GPU may still be in progress.

    For CUDA it goes through page-locked memory of torch's cache: from other memory the host may have to wait for what
    the GPU computes. Apple's GPU gets a copy that has ended, because the memory it is read from may be used again.
    """
    if x.device == device:
        return x
    if device.type == "cuda" and x.device.type == "cpu":
        x = x.pin_memory()
    return x.to(device, non_blocking=device.type != "mps")
