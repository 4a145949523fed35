"""A loss of your own: a pure function of logits and targets.

clsim compare digits-b0c2 --strategies finetune,lwf+er --set training.loss='{name: docs/examples/own_loss.py:symmetric}'
"""

import torch
import torch.nn.functional as F


def symmetric(logits: torch.Tensor, targets: torch.Tensor, *, smoothing: float = 0.05) -> torch.Tensor:
    """Binary cross-entropy with labels moved towards 1/2.

    logits: float [B, S]. targets: float [B, S], 1 present, 0 absent, (0, 1) soft, -1 unknown.
    """
    known = targets >= 0
    soft = torch.where(known, targets, 0.0) * (1 - smoothing) + smoothing / 2
    entries = F.binary_cross_entropy_with_logits(logits, soft, reduction="none")
    return (entries * known).sum() / len(logits)  # as every loss here: the sum over known entries / batch size
