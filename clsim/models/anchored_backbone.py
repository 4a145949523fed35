"""A backbone that goes on learning beside a copy of itself that does not."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class AnchoredBackbone(nn.Module):
    """Images -> features [B, d] of the live backbone in training mode, [B, 2 d] of both in evaluation mode.

    The anchor is always in evaluation mode and never learns. Its features come second.

    Args:
        backbone: the one that is trained; the anchor begins as its copy.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.live = backbone
        self.anchor = copy.deepcopy(backbone).requires_grad_(False).eval()

    def drop_anchor(self) -> None:
        """Give the anchor the weights and statistics that the live backbone has now."""
        self.anchor.load_state_dict(self.live.state_dict())

    def train(self, mode: bool = True) -> AnchoredBackbone:
        super().train(mode)
        self.anchor.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        live: Tensor = self.live(x)
        if self.training:
            return live
        with torch.no_grad():
            return torch.cat([live, self.anchor(x)], dim=1)
