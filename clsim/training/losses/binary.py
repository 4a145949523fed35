"""Losses on multi-label logits as pure functions.

One reduction everywhere: the sum over known entries, divided by the batch size. So a loss does not grow when labels
are hidden, and methods on top of each other compare.
"""

from __future__ import annotations

import math
from typing import Literal

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

    Example:
        >>> logits = torch.tensor([[0.0, 5.0], [0.0, -5.0]])
        >>> masked_bce(logits, torch.tensor([[1.0, -1.0], [0.0, -1.0]]))  # log 2 for each known entry
        tensor(0.6931)
    """
    logits, targets, known = known_entries(logits, targets)
    entries = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
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

    Example:
        >>> student, teacher = torch.tensor([[0.0, 9.0]]), torch.tensor([[0.0]])
        >>> sigmoid_distillation(student, teacher, torch.tensor([[True]]))  # never below the teacher's entropy
        tensor(0.6931)
    """
    student = logits[:, : teacher.shape[1]]
    entries = F.binary_cross_entropy_with_logits(
        torch.where(where, student, 0.0), torch.where(where, teacher.detach(), 0.0).sigmoid(), reduction="none"
    )
    return (entries * where).sum() / max(1, len(logits))


def balanced_distillation(logits: Tensor, teacher: Tensor, where: Tensor, alpha: float) -> Tensor:
    """Return (1 - alpha) / alpha |C_t| / |O| times `sigmoid_distillation`.

    Beside a sum over the |C_t| new classes it has the balance of two means, alpha L_new + (1 - alpha) L_old, times
    |C_t| / alpha.

    Args:
        logits, teacher, where: as of `sigmoid_distillation`; |O| is the number of the teacher's classes, at least 1,
            |C_t| that of the others, or 1 where there are none.
        alpha: share of the classification term, in (0, 1].
    """
    old, new = teacher.shape[1], max(1, logits.shape[1] - teacher.shape[1])
    return (1 - alpha) / alpha * new / old * sigmoid_distillation(logits, teacher, where)


def focal(logits: Tensor, targets: Tensor, gamma: float = 2.0, alpha: float | None = None) -> Tensor:
    """Focal loss over known entries (Lin et al., ICCV 2017, in its sigmoid form).

        L = -1/B sum [ a y (1 - p)^gamma log p + (1 - a) (1 - y) p^gamma log(1 - p) ],   both factors 1 without alpha

    Args:
        logits: z, float [B, S].
        targets: y, float [B, C], C >= S: 1 present, 0 absent, (0, 1) soft, -1 unknown.
        gamma: 0 gives binary cross-entropy.
        alpha: a, weight of positives.

    Returns:
        A scalar of the logits' dtype; the factors carry gradient.

    Example:
        >>> focal(torch.tensor([[0.0]]), torch.tensor([[1.0]]), gamma=2.0)  # (1 - 1/2)^2 log 2
        tensor(0.1733)
    """
    logits, targets, known = known_entries(logits, targets)
    log_p, log_not_p = F.logsigmoid(logits), F.logsigmoid(-logits)
    positive, negative = (1.0, 1.0) if alpha is None else (alpha, 1 - alpha)
    entries = positive * targets * (gamma * log_not_p).exp() * log_p  # a power of 1 - p has no gradient at p = 1
    entries = entries + negative * (1 - targets) * (gamma * log_p).exp() * log_not_p
    return -(entries * known).sum() / max(1, len(logits))


def asymmetric(
    logits: Tensor, targets: Tensor, gamma_neg: float = 4.0, gamma_pos: float = 1.0, clip: float = 0.05
) -> Tensor:
    """Asymmetric loss over known entries (ASL; Ridnik et al., ICCV 2021, equations 4 to 7).

        L = -1/B sum [ y (1 - p)^g+ log p + (1 - y) m^g- log(1 - m) ],   m = max(p - clip, 0)

    DECIDED: the focusing factors carry no gradient, as in the authors' training code and so in the KRT family.

    Args:
        logits: z, float [B, S].
        targets: y, float [B, C], C >= S: 1 present, 0 absent, (0, 1) soft, -1 unknown.
        gamma_neg: g-, focus on hard negatives; all three 0 give binary cross-entropy.
        gamma_pos: g+, focus on hard positives.
        clip: probability below which a negative counts nothing.

    Returns:
        A scalar of the logits' dtype.

    Example:
        >>> sure = torch.tensor([[-4.0]])  # p = 0.018, below the clip: an easy negative counts nothing
        >>> float(asymmetric(sure, torch.tensor([[0.0]])).abs())
        0.0
    """
    return asymmetric_entries(logits, targets, gamma_neg, gamma_pos, clip).sum() / max(1, len(logits))


def asymmetric_entries(logits: Tensor, targets: Tensor, gamma_neg: float, gamma_pos: float, clip: float) -> Tensor:
    """Return the entries that `asymmetric` sums up, float [B, S], 0 where unknown."""
    logits, targets, known = known_entries(logits, targets)
    log_p, log_absent = F.logsigmoid(logits), F.logsigmoid(-logits)
    with torch.no_grad():
        focus_positive = logits.neg().sigmoid() ** gamma_pos
        focus_negative = (logits.sigmoid() - clip).clamp(min=0) ** gamma_neg
    if clip:  # log(1 - p + clip), finite for every clip
        log_absent = torch.logaddexp(log_absent, log_absent.new_full((), math.log(clip))).clamp(max=0)
    entries = targets * focus_positive * log_p + (1 - targets) * focus_negative * log_absent
    return -(entries * known)


def emphasised_negatives(logits: Tensor, targets: Tensor, gamma: float = 1.0) -> Tensor:
    """AKD's classification term (RebLL, AAAI 2025): over-confident positives count less, negatives fully.

        L_cls = -1/B sum_i sum_{c known} [ (1 - p_ic)^gamma y_ic log p_ic + (1 - y_ic) log(1 - p_ic) ]

    DECIDED (the paper has no public code): the factor carries no gradient; gamma = 1.

    Args:
        logits: z, float [B, S]; p = sigmoid(z).
        targets: y, float [B, C], C >= S: 1 present, 0 absent, (0, 1) soft, -1 unknown.
        gamma: 0 gives `masked_bce`, bit for bit.

    Returns:
        A scalar of the logits' dtype.
    """
    logits, targets, known = known_entries(logits, targets)
    factor = (1 - logits.detach().sigmoid()) ** gamma
    entries = F.binary_cross_entropy_with_logits(logits, targets, reduction="none", pos_weight=factor)
    return (entries * known).sum() / max(1, len(logits))


def decayed_distillation(
    logits: Tensor, teacher: Tensor, where: Tensor, decay: float = 1.0, on: Literal["both", "positive"] = "both"
) -> Tensor:
    """AKD's distillation term (RebLL, AAAI 2025): over-confident teacher predictions count less.

        both:      L_kd = -1/B sum_i sum_{c in where} w(q_ic) [ q_ic log p_ic + (1 - q_ic) log(1 - p_ic) ]
        positive:  L_kd = -1/B sum_i sum_{c in where} [ w(q_ic) q_ic log p_ic + (1 - q_ic) log(1 - p_ic) ]
        w(q) = exp(-decay q),   q = sigmoid(teacher logit),   p = sigmoid(student logit)

    DECIDED (the paper names an adaptive exponential decay factor and no more): `both` is the literal reading, with its
    minimum at p = q; `positive` pulls the student below the teacher.

    Args:
        logits: student logits, float [B, S].
        teacher: teacher logits of the first O <= S columns, float [B, O]; no gradient flows into them.
        where: bool [B, O], entries to distil.
        decay: lambda; 0 gives `sigmoid_distillation`, for `both` bit for bit.

    Returns:
        A scalar of the logits' dtype.
    """
    student = torch.where(where, logits[:, : teacher.shape[1]], 0.0)
    q = torch.where(where, teacher.detach(), 0.0).sigmoid()
    weight = torch.exp(-decay * q)
    if on == "both":
        entries = weight * F.binary_cross_entropy_with_logits(student, q, reduction="none")
    else:
        entries = F.binary_cross_entropy_with_logits(student, q, reduction="none", pos_weight=weight)
    return (entries * where).sum() / max(1, len(logits))


def known_entries(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits and targets of the head's columns with 0 in place of unknown entries, and the mask of known ones.

    where, not a product: a target of -1 must not reach a loss even through an infinite logit.

    Example:
        >>> _, targets, known = known_entries(torch.tensor([[2.0, 3.0]]), torch.tensor([[1.0, -1.0, 0.0]]))
        >>> targets, known
        (tensor([[1., 0.]]), tensor([[ True, False]]))
    """
    targets = targets[:, : logits.shape[1]]
    known = targets >= 0
    return torch.where(known, logits, 0.0), torch.where(known, targets, 0.0), known
