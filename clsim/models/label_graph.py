"""The label graph head of AGCN (Du et al., ICME 2022, arXiv 2203.05534): classifiers made of class vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from clsim.models.class_vectors import ClassVectors
from clsim.models.head import Head, positions

SLOPE = 0.2
"""Of the leaky ReLU below the zero."""


class LabelGraphHead(Head):
    """Makes one classifier per class from the vectors of all classes, which speak to each other over a graph.

        H = P lrelu(P E W1) W2      E [S, v] class vectors, W1 [v, e], W2 [e, d]
        z = f H'                    f [d] the maximum over the positions of the map

    P [S, S] is written by `clsim.training.label_graph` and not learned; row i says which classes class i listens to. It
    is that of single nodes (1 on the diagonal) for classes of which nothing has been written. W1 and W2 are shared by
    all classes and tasks: nothing of a class is a weight of its own.

    DECIDED: W1 and W2 begin as torch's Linear, in which the source says nothing.

    Args:
        n_features: d.
        seed: the run's seed.
        names: of the stream's classes, for `ClassVectors`.
        width: e.
        file: word vectors; None: drawn ones of v = 300.
    """

    reads = "maps"
    matrix: Tensor
    vectors: Tensor

    def __init__(
        self, n_features: int, seed: int, names: Sequence[str] = (), width: int = 1024, file: Path | None = None
    ) -> None:
        super().__init__(n_features, seed)
        self.of_classes = ClassVectors(names, seed, file=file)
        self.first = nn.Linear(self.of_classes.width, width, bias=False)
        self.second = nn.Linear(width, n_features, bias=False)
        self.register_buffer("matrix", torch.zeros(0, 0))
        self.register_buffer("vectors", torch.zeros(0, self.of_classes.width))

    def add_classes(self, columns: range) -> None:
        self.vectors = torch.cat([self.vectors, self.of_classes(columns).to(self.vectors)])
        grown = torch.eye(columns.stop).to(self.matrix)
        grown[: columns.start, : columns.start] = self.matrix
        self.matrix = grown

    def classifiers(self) -> Tensor:
        """Return H, float [S, d]."""
        spoken = leaky_relu(self.matrix @ self.first(self.vectors), SLOPE)
        found: Tensor = self.matrix @ self.second(spoken)
        return found

    def logits(self, features: Tensor) -> Tensor:
        return positions(features).amax(dim=1) @ self.classifiers().T
