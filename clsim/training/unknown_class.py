"""The unknown class of HCP and KBK: outputs of absent classes, mixed, stand for what no class of the stream is."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from clsim.models.class_embeddings import ClassEmbeddingHead
from clsim.randomness import uniforms
from clsim.training.learner import Learner
from clsim.training.losses.binary import asymmetric
from clsim.training.plugin import Plugin
from clsim.transfer import sent

Mix = Literal["similar", "random"]


def mixed(tokens: Tensor, targets: Tensor, factors: Tensor, mix: Mix) -> tuple[Tensor, Tensor]:
    """Return what the unknown unit reads of each image, float [B, 2, e], and its targets, float [B, 2].

        o_V = sum_a l_a w_a o_a / sum_a l_a w_a,   w_a = mean_p cos(o_p, o_a), or 1       target 1
        o_P = mean_p o_p                                                                  target 0

    over the outputs o_a of classes that are absent, and o_p of those present. Where an image has no present class, or
    none absent, or weights of sum 0, its targets are -1 and what is read is 0. The weights carry no gradient.

    DECIDED: w_a is cut at 0, because negative cosines make the sum 0 or turn its sign; a soft label above 0.5 counts
    as present.

    Args:
        tokens: outputs of the classes, float [B, S, e].
        targets: y, float [B, C], C >= S: 1 present, 0 absent, (0, 1) soft, -1 unknown, which takes no part.
        factors: l, float [B, S], at least 0.
        mix: whether w_a is that of the formula (KBK), "similar", or 1 (HCP), "random".
    """
    y = targets[:, : tokens.shape[1]]
    present = (y > 0.5).to(tokens.dtype)
    absent = ((y >= 0) & (y <= 0.5)).to(tokens.dtype)
    share = present / present.sum(dim=1, keepdim=True).clamp(min=1)
    weights = absent * factors.to(tokens.dtype)
    if mix == "similar":
        unit = F.normalize(tokens.detach(), dim=2)
        towards = (share[:, None] @ unit).transpose(1, 2)  # mean of unit vectors, [B, e, 1]
        weights = weights * (unit @ towards).squeeze(2).clamp(min=0)
    sums = weights.sum(dim=1)
    there = (sums > 0) & (present.sum(dim=1) > 0)
    weights = torch.where(there[:, None], weights / torch.where(sums > 0, sums, 1.0)[:, None], 0.0)
    share = torch.where(there[:, None], share, 0.0)
    read = torch.stack([weights, share], dim=1) @ tokens
    ones = torch.ones_like(sums)
    return read, torch.where(there[:, None], torch.stack([ones, 0 * ones], dim=1), -1.0)


def betas(n: int, concentration: float, seed: int, *purpose: object) -> NDArray[np.float64]:
    """Return n numbers of Beta(a, a), float64 [n], a the concentration; a longer draw starts with the shorter one.

    By Joehnk's method: U^(1/a) / (U^(1/a) + V^(1/a)), drawn again where the sum is above 1.
    """
    found = np.full(n, np.nan)
    attempt = 0
    while np.isnan(found).any():
        x, y = (uniforms(2 * n, seed, *purpose, attempt).reshape(n, 2) ** (1 / concentration)).T
        fits = np.isnan(found) & (x + y <= 1) & (x + y > 0)
        found[fits] = x[fits] / (x + y)[fits]
        attempt += 1
    return found


class UnknownClass(Plugin):
    """Trains the unknown unit of a `ClassEmbeddingHead`, and through it the outputs of the classes.

        L = 1/B sum of ASL(unit(o_V), 1) + ASL(unit(o_P), 0),   focusing 0 of positives and 4 of negatives

    See `mixed`; labels are those of the batch when other parts have completed them.

    DECIDED: the target of the unit is 0 on real rows, where the text counts it among the classes but names none; it
    reads there what the image shows, the mean of the present classes' outputs. The loss is the paper's ASL, whatever
    the scenario's is. Every step draws l anew.

    Args:
        mix: see `mixed`.
        concentration: of the Beta distribution of l.
        weight: factor of L.
    """

    def __init__(self, mix: Mix, concentration: float, weight: float) -> None:
        super().__init__()
        self.mix: Mix = mix
        self.concentration = concentration
        self.weight = weight

    def before_backward(self, learner: Learner, **kwargs: Any) -> None:
        head, tokens = learner.model.head, learner.outputs.tokens
        assert isinstance(head, ClassEmbeddingHead)
        assert tokens is not None
        factors = self._factors(learner, tokens.shape[1])
        read, targets = mixed(tokens, learner.mb_y, sent(torch.from_numpy(factors), tokens.device), self.mix)
        loss = asymmetric(head.of_unknown(read), targets, gamma_neg=4, gamma_pos=0)
        learner.add_loss("unknown", self.weight * loss)

    def _factors(self, learner: Learner, n_classes: int) -> NDArray[np.float32]:
        """Return l of this rank's rows, float32 [B, S]; each is that of its place in the whole batch."""
        own, beyond = learner.loader.part, learner.loader.part_beyond
        if not beyond.whole:
            beyond = learner.part(max(0, learner.batch_rows - own.whole))
        first, here = own.whole + beyond.start, len(learner.mb_x)
        rows = np.r_[own.start : own.stop, first : first + here][:here]
        n = int(rows.max()) + 1
        drawn = betas(n * n_classes, self.concentration, learner.seed, "unknown class", *learner.position.place)
        return drawn.reshape(n, n_classes)[rows].astype(np.float32)

    def state_dict(self) -> dict[str, Any]:
        return {}  # the unit belongs to the head
