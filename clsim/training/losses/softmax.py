"""Softmax losses for single-label data: each image shows exactly one class.

The reduction is that of `clsim.training.losses.binary`, and targets are the same: float [B, C], 1 present, 0 absent, -1
unknown. The softmax is over the classes whose label is known in the row: what is unknown is neither a candidate nor
gets a gradient. DECIDED: a row of k positives (multi-label data) asks for 1/k of each; one without a positive, such as
a row whose class is hidden, adds nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from clsim.training.losses.class_counts import LEAST, ClassCounts


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Softmax cross-entropy over known classes.

        L = -1/B sum_i log( exp z_iy / sum_{c known in i} exp z_ic )

    Args:
        logits: z, float [B, S].
        targets: float [B, C], C >= S, columns beyond S are ignored; see the module.

    Returns:
        A scalar of the logits' dtype.

    Example:
        >>> logits = torch.tensor([[0.0, 0.0, 7.0]])
        >>> cross_entropy(logits, torch.tensor([[1.0, 0.0, -1.0]]))  # log 2: the unknown class is no candidate
        tensor(0.6931)
    """
    targets = targets[:, : logits.shape[1]]
    known = targets >= 0
    share = torch.where(known, targets, 0.0)
    share = share / share.sum(dim=1, keepdim=True).clamp(min=torch.finfo(share.dtype).tiny)
    candidates = torch.where(known, logits, -torch.inf)
    candidates = torch.where(known.any(dim=1, keepdim=True), candidates, 0.0)  # a softmax over nothing is NaN
    log_p = torch.where(known, candidates.log_softmax(dim=1), 0.0)
    return -(share * log_p).sum() / max(1, len(logits))


def logit_adjusted_cross_entropy(logits: Tensor, targets: Tensor, counts: ClassCounts, tau: float = 1.0) -> Tensor:
    """Softmax cross-entropy on logits to which the log prior is added (Menon et al., ICLR 2021, equation 10).

        L = cross_entropy(z + tau log n)

    The prior is n_c / sum n, whose denominator is the same for all classes of a softmax. Scores are the logits without
    the prior.

    Args:
        logits: z, float [B, S].
        targets: float [B, C], see the module.
        counts: n of the task.
        tau: 0 gives `cross_entropy`.

    Returns:
        A scalar of the logits' dtype.
    """
    positives = counts.first(logits.shape[1], logits).positives
    return cross_entropy(logits + tau * positives.clamp(min=LEAST).log(), targets)
