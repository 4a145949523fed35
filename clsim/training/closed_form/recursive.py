"""Ridge regression row by row, without second moments: the recursive form of analytic learning."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class RecursiveRidge:
    """Keep R = (A + ridge I)^-1 and the solution W; each chunk of rows updates both (ACIL: Zhuang et al., 2022).

        K = R X' (I + X R X')^-1;   W <- W + K (Y - X W);   R <- R - K X R

    After any number of chunks W is the ridge regression on all rows, with a target of 0 wherever a class was not there
    yet. The ridge is fixed before the first row.

    Attributes:
        inverse: R, float64 [p, p].
        weight: W, float64 [p, S].

    Args:
        width: p.
        ridge: above 0.
    """

    def __init__(self, width: int, ridge: float) -> None:
        self.inverse = torch.eye(width, dtype=torch.float64) / ridge
        self.weight = torch.zeros(width, 0, dtype=torch.float64)

    def to(self, device: torch.device) -> None:
        """Compute on a device."""
        self.inverse, self.weight = self.inverse.to(device), self.weight.to(device)

    def solve(self) -> None:
        """Nothing is left to do: `weight` is up to date after each chunk."""

    def grow(self, n_classes: int) -> None:
        """Have a column for each of the first `n_classes` classes."""
        new = n_classes - self.weight.shape[1]
        self.weight = torch.cat([self.weight, self.weight.new_zeros(len(self.weight), new)], dim=1)

    def add(self, phi: Tensor, labels: Tensor) -> None:
        """Take in rows; one that counts w times has both multiplied by sqrt(w).

        Args:
            phi: float64 [n, p]; n^2 numbers are held.
            labels: float64 [n, S].
        """
        across = phi @ self.inverse
        inner = across @ phi.T
        inner.diagonal().add_(1.0)
        gain = torch.linalg.solve(inner, across).T
        self.weight = self.weight + gain @ (labels - phi @ self.weight)
        self.inverse = self.inverse - gain @ across

    @property
    def nbytes(self) -> int:
        return self.inverse.nbytes + self.weight.nbytes

    def state_dict(self) -> dict[str, Any]:
        return {"inverse": self.inverse, "weight": self.weight}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.inverse, self.weight = state["inverse"], state["weight"]
