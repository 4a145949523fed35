"""Losses on multi-label logits as pure functions.

One reduction everywhere: the sum over known entries, divided by the batch size. So a loss does not grow when labels
are hidden, and methods on top of each other compare.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def masked_bce(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy over known entries.

        L = -1/B sum_i sum_{c known} [ y_ic log p_ic + (1 - y_ic) log(1 - p_ic) ],   p = sigmoid(z)

    Args:
        logits: z, float [B, S].
        targets: y, float [B, C], C >= S, columns beyond S are ignored: 1 present, 0 absent, (0, 1) soft,
            -1 unknown. Unknown entries carry exactly no gradient.

    Returns:
        A scalar of the logits' dtype.
    """
    targets = targets[:, : logits.shape[1]]
    known = targets >= 0
    # where, not a product: a target of -1 must not reach the loss even through an infinite logit
    entries = F.binary_cross_entropy_with_logits(
        torch.where(known, logits, 0.0), torch.where(known, targets, 0.0), reduction="none"
    )
    return (entries * known).sum() / max(1, len(logits))


def sigmoid_distillation(logits: Tensor, teacher: Tensor, where: Tensor) -> Tensor:
    """Sigmoid (binary) knowledge distillation on the teacher's columns.

        L = -1/B sum_i sum_{c in where} [ q_ic log p_ic + (1 - q_ic) log(1 - p_ic) ],   q = sigmoid(teacher logit)

    The multi-label form of Learning without Forgetting (Li & Hoiem, ECCV 2016).

    Args:
        logits: student logits, float [B, S].
        teacher: teacher logits of the first O <= S columns, float [B, O]; no gradient flows into them.
        where: bool [B, O], entries to distil.

    Returns:
        A scalar of the logits' dtype.
    """
    student = logits[:, : teacher.shape[1]]
    entries = F.binary_cross_entropy_with_logits(
        torch.where(where, student, 0.0), torch.where(where, teacher.detach(), 0.0).sigmoid(), reduction="none"
    )
    return (entries * where).sum() / max(1, len(logits))
