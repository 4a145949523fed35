"""Losses on multi-label logits that know how frequent each class is.

The reduction is that of `clsim.training.losses.binary`: the sum over known entries, divided by the batch size. Targets
are float [B, C]: 1 present, 0 absent, (0, 1) soft, -1 unknown. Columns beyond those of the logits are ignored. Unknown
entries carry exactly no gradient. `counts` are of C classes.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from clsim.training.losses.binary import known_entries
from clsim.training.losses.class_counts import LEAST, ClassCounts
from clsim.transfer import sent


def distribution_balanced(
    logits: Tensor,
    targets: Tensor,
    counts: ClassCounts,
    alpha: float = 0.1,
    beta: float = 10.0,
    mu: float = 0.3,
    kappa: float = 0.05,
    lam: float = 5.0,
    gamma: float = 2.0,
) -> Tensor:
    """Distribution-balanced loss (DB; Wu et al., ECCV 2020) with the focal factor of the authors' experiments.

        r_ic = 1/n_c / sum_{j present in i} 1/n_j,       w_ic = alpha + sigmoid(beta (r_ic - mu))
        v_c  = z_c - kappa/lam log(N_c/n_c - 1),         p = sigmoid(v),   q = sigmoid(lam v)
        L = -1/B sum w_ic [ y (1 - p)^gamma log p + (1 - y) q^gamma log(1 - q) / lam ]

    The factors carry gradient, as in the authors' code. DECIDED: N_c is the number of rows in which the class is known,
    the number of all rows where everything is; r = 1 in a row without a positive, which the benchmark has none of; a
    soft label counts in both terms; the authors' factor of 2 is left out, for it only scales the loss.

    Args:
        logits: z, float [B, S].
        targets: y, float [B, C], see the module.
        counts: n and N of the task.
        alpha: least weight of the map from r to a weight.
        beta: steepness of that map.
        mu: its centre; 0.3 for VOC-MLT and 0.2 for COCO-MLT.
        kappa: how far the prior shifts logits.
        lam: scale of negative logits; 5 for VOC-MLT and 2 for COCO-MLT.
        gamma: 0: no focal factor.

    Returns:
        A scalar of the logits' dtype.
    """
    logits, targets, known = known_entries(logits, targets)
    seen = counts.first(logits.shape[1], logits)
    inverse = 1 / seen.positives.clamp(min=LEAST)
    repeats = (targets * inverse).sum(dim=1, keepdim=True)
    rate = torch.where(repeats > 0, inverse / torch.where(repeats > 0, repeats, 1.0), 1.0)
    weight = alpha + torch.sigmoid(beta * (rate - mu))
    shifted = logits + kappa / lam * seen.log_odds()
    present = (gamma * F.logsigmoid(-shifted)).exp() * F.logsigmoid(shifted)
    absent = (gamma * F.logsigmoid(lam * shifted)).exp() * F.logsigmoid(-lam * shifted) / lam
    entries = weight * (targets * present + (1 - targets) * absent)
    return -(entries * known).sum() / max(1, len(logits))


def logit_adjusted(logits: Tensor, targets: Tensor, counts: ClassCounts, tau: float = 1.0) -> Tensor:
    """Binary cross-entropy on logits to which the prior is added (Menon et al., ICLR 2021).

        L = -1/B sum [ y log p + (1 - y) log(1 - p) ],   p = sigmoid(z + tau log(n_c / (N_c - n_c)))

    The paper adds tau log(prior) to the logits of a softmax. A binary decision is a softmax over (z, 0) with the priors
    n/N and 1 - n/N, so here it is the log odds. Scores are the logits without the prior.

    Args:
        logits: z, float [B, S].
        targets: y, float [B, C], see the module.
        counts: n and N of the task.
        tau: 0 gives `masked_bce`.

    Returns:
        A scalar of the logits' dtype.
    """
    logits, targets, known = known_entries(logits, targets)
    prior = tau * counts.first(logits.shape[1], logits).log_odds()
    entries = F.binary_cross_entropy_with_logits(logits + prior, targets, reduction="none")
    return (entries * known).sum() / max(1, len(logits))


def class_balanced(
    logits: Tensor,
    targets: Tensor,
    counts: ClassCounts,
    beta: float = 0.9,
    weigh: Literal["classes", "images"] = "classes",
) -> Tensor:
    """Binary cross-entropy weighted by the effective number of samples (Cui et al., CVPR 2019).

        w_c = (1 - beta) / (1 - beta^n_c), scaled to a mean of 1 over the classes with a positive

    classes: an entry is weighted by its class, the form that the DB-loss benchmark compares with.
    images: all entries of an image are weighted by the mean w of the classes it shows (1 if it shows none); with one
    positive an image this is the paper's own form.

    Args:
        logits: z, float [B, S].
        targets: y, float [B, C], see the module.
        counts: n of the task.
        beta: 0 gives `masked_bce`; towards 1 the weights go to inverse frequency.
        weigh: see above.

    Returns:
        A scalar of the logits' dtype.
    """
    logits, targets, known = known_entries(logits, targets)
    positives = counts.positives[: logits.shape[1]].to(logits.dtype)
    log_beta = positives.new_tensor(beta).log()
    weight = (1 - beta) / -torch.expm1(positives.clamp(min=1.0) * log_beta)
    counted = positives > 0
    weight = weight / (weight[counted].mean() if counted.any() else 1.0)
    weight = sent(weight, logits.device)  # computed where the counts are, so that no GPU has to be waited for
    if weigh == "images":
        present = targets.sum(dim=1, keepdim=True)
        mean = (targets * weight).sum(dim=1, keepdim=True) / torch.where(present > 0, present, 1.0)
        weight = torch.where(present > 0, mean, 1.0)
    entries = weight * F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (entries * known).sum() / max(1, len(logits))


def rldam(logits: Tensor, targets: Tensor, counts: ClassCounts, margin: float = 0.6) -> Tensor:
    """Label-distribution-aware margin loss for macro-AUC (RLDAM; Zhang et al., AAAI 2025, arXiv 2412.18231).

        L = sum_c [ mean_{i present} l(z_ic - D_c) + mean_{j absent} l(-z_jc - D_c) ],   D_c = margin n_c^(-1/4)
        l(s) = log(1 + e^-s)

    This is the mean of l(z_i - D) + l(-z_j - D) over all pairs of a present and an absent row: rare classes must keep
    a wider margin. A class without both signs in the batch adds nothing (the released code fails where no class has
    both). On several ranks the means are those of each rank's rows.

    DECIDED: the sum over classes, where the paper has the mean, which only scales: so it is of the size of
    `masked_bce`, whose entries it weighs. A soft label counts in both means. One margin, as in the released code, where
    the paper has another one of absent rows.

    Args:
        logits: z, float [B, S].
        targets: y, float [B, C], see the module.
        counts: n of the task.
        margin: C_h; 0: none.

    Returns:
        A scalar of the logits' dtype.
    """
    logits, targets, known = known_entries(logits, targets)
    present = targets * known
    absent = known.to(present.dtype) - present
    distance = margin * counts.first(logits.shape[1], logits).positives.clamp(min=LEAST) ** -0.25
    n_present, n_absent = present.sum(dim=0), absent.sum(dim=0)
    of_present = (present * F.softplus(distance - logits)).sum(dim=0) / n_present.clamp(min=1e-6)
    of_absent = (absent * F.softplus(distance + logits)).sum(dim=0) / n_absent.clamp(min=1e-6)
    return ((of_present + of_absent) * ((n_present > 0) & (n_absent > 0))).sum()
