"""A backbone of your own: any torch.nn.Module from images float [B, 3, H, W] to features float [B, d].

clsim compare docs/examples/own_backbone.yaml --strategies finetune,er
"""

import torch
from torch import nn


class TwoLayers(nn.Module):
    """Two convolutions and the mean of each channel."""

    def __init__(self, width: int = 16, dropout: float = 0.0):  # the options in own_backbone.yaml
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 5, stride=2, padding=2),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Dropout(dropout),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x).mean(dim=(2, 3))
