"""The terms of model rebalancing as pure functions: how often a class is seen, the loss, what is reported.

MORE; Luo et al., "Long-tailed Recognition with Model Rebalancing", NeurIPS 2025. What is DECIDED for multi-label
streams stands in `clsim.training.more.plugin`.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]
Weights = Literal["exposure", "class", "sample", "uniform"]


# --- the prior


def exposure(
    new: Floats, n_new: int, replayed: Floats, n_replayed: int, share_replayed: float, confident: Floats | None = None
) -> Floats:
    """How often training meets each class in a row of a task's mixture, float64 [S] in 0..1.

        rho_c = (1 - s) (n_c(D) + confident_c) / |D| + s n_c(M) / |M|

    Args:
        new: n_c(D), positives among the new rows, float64 [S].
        n_new: |D|.
        replayed: n_c(M), positives among the memory rows, soft labels by their value, float64 [S].
        n_replayed: |M|; 0: no memory.
        share_replayed: s, share of memory rows in the mixture.
        confident: unannotated positives of the new rows that a teacher is confident of, float64 [S]; None: none.
    """
    own = new if confident is None else new + confident
    rho: Floats = (1 - share_replayed) * own / max(1, n_new) + share_replayed * replayed / max(1, n_replayed)
    return rho


def class_weights(rho: Floats, positives: Floats, kappa: float, clip: tuple[float, float]) -> Floats:
    """w_c = clip(pi_c / mean_j pi_j) with pi = rho^(1 - kappa) N^kappa, float64 [S].

    The published alpha pi_c is A' w_c, as its pi sums to 1 and A' = A / C: this form does not depend on a number of
    classes that grows. With no positive at all every weight is 1.

    Args:
        rho: exposure, float64 [S].
        positives: N, visible positives in all tasks so far, float64 [S].
        kappa: 0: exposure alone; 1: N alone, for a replay that balances the classes and so flattens rho.
        clip: least and greatest weight.
    """
    pi = rho ** (1 - kappa) * positives**kappa
    if not pi.sum():
        return np.ones(len(pi))
    clipped: Floats = np.clip(pi / pi.mean(), *clip)
    return clipped


# --- the loss


def filled_labels(targets: Tensor, n_classes: int, teacher: Tensor | None, where: Tensor | None) -> Tensor:
    """q: the label where it is known, else the teacher's probability, else -1; float [B, S].

    Args:
        targets: float [B, C], C >= S: 1, 0, (0, 1) soft, -1 unknown; columns beyond S are ignored.
        n_classes: S.
        teacher: teacher logits of the first O <= S columns, float [B, O], or None.
        where: bool [B, O], entries the teacher fills.
    """
    q = targets[:, :n_classes].clone()
    if teacher is not None and where is not None:
        old = q[:, : teacher.shape[1]]
        old.copy_(torch.where(where, teacher.detach().sigmoid().to(q), old))
    return q


def rebalancing_loss(full: Tensor, general: Tensor, q: Tensor, weights: Tensor, kind: Weights = "exposure") -> Tensor:
    """The discrepancy of the two paths, weighted by how often training sees what an entry speaks of.

        L = 1/B sum_i sum_{c filled} omega_ic (z_full_ic - z_general_ic)^2
        exposure:  omega_ic = q_ic w_c + (1 - q_ic) s_i,   s_i the mean of w over the positives of image i, 1 if none
        sample:    omega_ic = s_i
        class:     omega_ic = w_c
        uniform:   omega_ic = 1

    Where each image has one label and all are known, exposure and sample are the published form, A' times which is
    alpha times 1/B sum_i pi_{y_i} ||z_full_i - z_general_i||^2.

    DECIDED: a soft label above 0.5 makes a positive of its image, so that the many small probabilities of a teacher do
    not outvote the labels.

    Args:
        full, general: logits, float [B, S].
        q: float [B, S]: 1, 0, (0, 1) soft; -1 unknown, such entries carry exactly no gradient.
        weights: w, float [S].

    Returns:
        A scalar of the logits' dtype.
    """
    filled = q >= 0
    gap = torch.where(filled, full, 0.0) - torch.where(filled, general, 0.0)
    if kind == "uniform":
        return gap.square().sum() / max(1, len(q))
    positive = (q > 0.5).to(full)
    count = positive.sum(dim=1)
    of_image = torch.where(count > 0, positive @ weights / count.clamp(min=1), 1.0)[:, None]
    if kind == "exposure":
        omega = q * weights + (1 - q) * of_image
    else:
        omega = (weights if kind == "class" else of_image).expand_as(q)
    return (torch.where(filled, omega, 0.0) * gap.square()).sum() / max(1, len(q))


# --- what is reported


def rank_correlation(a: Floats, b: Floats) -> float:
    """Spearman's rank correlation of two float64 [S], ties at their mean rank; NaN where either is constant."""
    ranks = [_ranks(values) for values in (a, b)]
    centred = [rank - rank.mean() for rank in ranks]
    spread = math.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum())
    return float((centred[0] * centred[1]).sum() / spread) if spread else math.nan


def _ranks(values: Floats) -> Floats:
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[where]
    return ranks


def tail_to_head(discrepancy: Floats, weights: Floats) -> float:
    """Mean discrepancy of the third of the classes with the smallest weights over that of the third with the largest.

    DECIDED: thirds by weight, at least one class each; the reporting groups of the stream are no business of a learner.
    NaN for a single class, and where the head has none.

    Args:
        discrepancy, weights: float64 [S].
    """
    third = max(1, len(weights) // 3)
    order = np.argsort(weights, kind="stable")
    head = float(discrepancy[order[-third:]].mean())
    return float(discrepancy[order[:third]].mean()) / head if head and len(weights) > 1 else math.nan
