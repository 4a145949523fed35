"""The graph head of CSC (CI-GCN; Du et al., ECCV 2024, arXiv 2403.12559): one node per class over an image's map."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, linear

from clsim.models.head import Head, positions

SLOPE = 0.2
"""Of each leaky ReLU below the zero."""


class ClassGraphHead(Head):
    """Reads each class where it stands in the map, and again after classes have spoken to each other in two graphs.

        M = W F,  F the N positions of the map [N, d]          z1_c = max over positions of M_c
        v_c = P (sum over positions of softmax(M_c) F)         nodes V0 [S, e]
        V1 = V0 + lrelu(D lrelu(A V0))                         A [S, S] is learned, the same for all images
        V2 = lrelu(E lrelu(B' V1)),  B = sigmoid(R [g; V1])    B [S, S] of this image, g a summary of V1's mean
        z2_c = <u_c, V0_c + V2_c> + b_c                        logits (z1 + z2) / 2

    Rows of W, R and u, and rows and columns of A, of earlier classes keep their weights when the head grows. z2 of an
    earlier class changes all the same, because new nodes speak to it.

    The published order, a sum of the projected positions P F, is the same, since a softmax sums to 1, and costs more.

    DECIDED: the mean of z1 and z2, as in the released code; the paper adds them. All tensors that grow are trained in
    each task; the released code builds its optimiser once, and what it grows never learns.

    Args:
        n_features: d.
        seed: the run's seed.
        width: e.
    """

    reads = "maps"

    def __init__(self, n_features: int, seed: int, width: int = 1024) -> None:
        super().__init__(n_features, seed)
        self.width = width
        self.project = nn.Linear(n_features, width)
        self.general, self.summary, self.specific = (nn.Linear(width, width) for _ in range(3))
        self.norm = nn.BatchNorm1d(width)
        self.classes = nn.Parameter(torch.empty(0, n_features))
        self.graph = nn.Parameter(torch.empty(0, 0))
        self.relations = nn.Parameter(torch.empty(0, 2 * width))
        self.relations_bias = nn.Parameter(torch.empty(0))
        self.rows = nn.Parameter(torch.empty(0, width))
        self.rows_bias = nn.Parameter(torch.empty(0))

    def add_classes(self, columns: range) -> None:
        for name in ("classes", "relations", "rows"):
            old = getattr(self, name).detach()
            new = torch.stack([self._drawn(old.shape[1], name, column) for column in columns])
            setattr(self, name, nn.Parameter(torch.cat([old, new.to(old)])))
            if name != "classes":
                bias = getattr(self, f"{name}_bias").detach()
                setattr(self, f"{name}_bias", nn.Parameter(torch.cat([bias, bias.new_zeros(len(columns))])))
        known = self.graph.detach()
        drawn = torch.stack([self._drawn(columns.stop, "graph", columns.stop, row) for row in range(columns.stop)])
        grown = drawn.to(known)
        grown[: len(known), : len(known)] = known
        self.graph = nn.Parameter(grown)

    def _drawn(self, n: int, *purpose: str | int) -> Tensor:
        """Return a row of n weights as torch draws those of a linear map, uniform in +-1/sqrt(n)."""
        return (torch.rand(n, generator=self.generator(*purpose)) * 2 - 1) / math.sqrt(n)

    def logits(self, features: Tensor) -> Tensor:
        places = positions(features)
        if not self.n_classes:
            return places.new_zeros(places.shape[0], 0)
        found = linear(places, self.classes).transpose(1, 2)
        nodes = self.project(found.softmax(dim=2) @ places)
        spoken = nodes + leaky_relu(self.general(leaky_relu(self.graph @ nodes, SLOPE)), SLOPE)
        summary = leaky_relu(self.norm(self.summary(spoken.mean(dim=1))), SLOPE)
        both = torch.cat([summary[:, None].expand_as(spoken), spoken], dim=2)
        own_graph = linear(both, self.relations, self.relations_bias).sigmoid()
        answered = leaky_relu(self.specific(leaky_relu(own_graph @ spoken, SLOPE)), SLOPE)
        again = ((nodes + answered) * self.rows).sum(dim=2) + self.rows_bias
        return (found.amax(dim=2) + again) / 2
