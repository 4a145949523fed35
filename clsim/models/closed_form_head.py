"""Heads whose weights are solved for, alone or beside one that is trained."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from clsim.models.head import GrowingHead, Head

Combination = Literal["mean", "solved"]


class ClosedFormHead(Head):
    """One affine function per class of phi, a fixed function of the features; it has no trained weights.

        logits = scale * (phi(features) @ weight') + offset

    Attributes:
        weight: float32 [S, p], zeros for a class that has not been solved for.
        scale: float32 [S], above 0, so that it changes no rank within a class.
        offset: float32 [S].
        width: p, the width of phi.

    Args:
        n_features: width d of the features.
        seed: the run's seed, of which the random expansion is drawn.
        normalise: scale each feature vector to length sqrt(d) first.
        expansion: width of a random layer with ReLU (RanPAC: McDonnell et al., NeurIPS 2023, eq. 2; ACIL: Zhuang et
            al., NeurIPS 2022, eq. 6); 0: none.
        constant: whether phi ends in a 1, so that the weight holds an intercept.
    """

    weight: Tensor
    scale: Tensor
    offset: Tensor

    def __init__(
        self, n_features: int, seed: int, normalise: bool = True, expansion: int = 0, constant: bool = True
    ) -> None:
        super().__init__(n_features, seed)
        self.normalise = normalise
        self.constant = constant
        self.width = (expansion or n_features) + constant
        self.register_buffer("weight", torch.zeros(0, self.width))
        self.register_buffer("scale", torch.ones(0))
        self.register_buffer("offset", torch.zeros(0))
        self.projection: Tensor | None
        self.register_buffer("projection", self._random_layer(expansion) if expansion else None)

    @property
    def solved(self) -> ClosedFormHead:
        """The head that is solved for: this one."""
        return self

    def _random_layer(self, width: int) -> Tensor:
        """Return the weights of the random layer, float32 [m, d], drawn as torch's own Linear from U(-1, 1) / sqrt(d).

        DECIDED: as the released code of L3A. ACIL and RanPAC draw from Gaussians; the ridge levels that out.
        """
        drawn = torch.rand(width, self.n_features, generator=self.generator("expansion"))
        return (2 * drawn - 1) / math.sqrt(self.n_features)

    def add_classes(self, columns: range) -> None:
        new = len(columns)
        self.weight = torch.cat([self.weight, self.weight.new_zeros(new, self.width)])
        self.scale = torch.cat([self.scale, self.scale.new_ones(new)])
        self.offset = torch.cat([self.offset, self.offset.new_zeros(new)])

    def phi(self, features: Tensor) -> Tensor:
        """Return phi, float [B, p], of features, float [B, d], in their precision and on their device."""
        if self.normalise:
            features = nn.functional.normalize(features) * math.sqrt(self.n_features)
        if self.projection is not None:
            features = nn.functional.relu(features @ self.projection.to(features).T)
        if self.constant:
            features = torch.cat([features, features.new_ones(features.shape[0], 1)], dim=1)
        return features

    def logits(self, features: Tensor) -> Tensor:
        return self.scale * (self.phi(features) @ self.weight.T) + self.offset

    @torch.no_grad()
    def write(self, weight: Tensor, scale: Tensor, offset: Tensor) -> None:
        """Set what has been solved for; any precision and device.

        Args:
            weight: [S, p].
            scale: [S].
            offset: [S].
        """
        self.weight.copy_(weight)
        self.scale.copy_(scale)
        self.offset.copy_(offset)


class PairedHead(Head):
    """A trained head and a solved one over the same network.

    In training mode it is the trained head alone. In evaluation mode, for classes that have been solved for, it is the
    mean of the two heads' logits, or the solved head's. Over an `AnchoredBackbone`, whose features are [B, 2 d] in
    evaluation mode, the trained head reads the first half and the solved one the second.

    Attributes:
        known: bool [S], the classes that have been solved for.

    Args:
        trained: head without classes that the optimiser trains, over `hidden`.
        solved: head without classes that is solved for.
        hidden: feature transform before the trained head.
        combination: what the logits of a solved class are: the mean of both, or those of the solved head.
    """

    known: Tensor

    def __init__(
        self,
        trained: GrowingHead,
        solved: ClosedFormHead,
        hidden: nn.Module,
        combination: Combination,
    ) -> None:
        super().__init__(solved.n_features, solved.seed)
        self.trained = trained
        self.solved = solved
        self.hidden = hidden
        self.combination = combination
        self.register_buffer("known", torch.zeros(0, dtype=torch.bool))

    def add_classes(self, columns: range) -> None:
        self.known = torch.cat([self.known, self.known.new_zeros(len(columns))])
        self.trained.grow(columns.stop)
        self.solved.grow(columns.stop)

    def phi(self, features: Tensor) -> Tensor:
        """Return phi of the solved head, float [B, p], of features as the network gives them in evaluation mode."""
        return self.solved.phi(features[:, -self.solved.n_features :])

    def write(self, weight: Tensor, scale: Tensor, offset: Tensor) -> None:
        """Set what has been solved for, as `ClosedFormHead.write`."""
        self.solved.write(weight, scale, offset)
        self.known.fill_(True)

    def logits(self, features: Tensor) -> Tensor:
        trained = self.trained.logits(self.hidden(features[:, : self.solved.n_features]))
        if self.training:
            return trained
        solved = self.solved.logits(features[:, -self.solved.n_features :])
        if self.combination == "mean":
            solved = (solved + trained) / 2
        return torch.where(self.known, solved, trained)
