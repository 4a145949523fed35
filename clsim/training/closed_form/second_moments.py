"""Second moments of feature vectors, G = sum of phi phi', in full or as a few rows and a diagonal.

Both forms take in rows in chunks. What they keep between tasks takes O(p^2) or O(p r) bytes, never O(N p).
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from clsim.errors import RunError


class SecondMoments(Protocol):
    """What a head in closed form needs of G, float64 [p, p].

    Attributes:
        width: p.
        kept: precision of what is kept between tasks.
    """

    width: int
    kept: torch.dtype

    def to(self, device: torch.device) -> None:
        """Compute on a device."""
        ...

    def add(self, phi: Tensor) -> None:
        """Take in rows of phi, float64 [n, p]; a row that counts w times is multiplied by sqrt(w)."""
        ...

    def close(self) -> None:
        """End a task: bring what is kept to its final form, which `nbytes` counts."""
        ...

    def times(self, weights: Tensor) -> Tensor:
        """Return G W of weights W, float64 [p, S]."""
        ...

    def smoother(self, ridge: float) -> float:
        """Return the trace of G (G + ridge I)^-1, the degrees of freedom of the ridge regression."""
        ...

    def solve(self, right: Tensor, ridge: float) -> Tensor:
        """Return (G + ridge I)^-1 B of right-hand sides B, float64 [p, S]; ridge above 0."""
        ...

    def transport(self, by: Tensor) -> None:
        """Replace G by A G A' for a map A of feature vectors, float64 [p, p]."""
        ...

    def scale(self, factor: float) -> None:
        """Multiply G by a factor above 0."""
        ...

    @property
    def total(self) -> Tensor:
        """The sum of all rows, float64 [p]; phi ends in a 1."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of what is kept between tasks."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class FullMoments:
    """G in full; its upper triangle is stored.

    Args:
        width: p.
        kept: precision of what is kept between tasks; sums are in float64 inside a task.
    """

    def __init__(self, width: int, kept: torch.dtype = torch.float32) -> None:
        self.width = width
        self.kept = kept
        self.matrix = torch.zeros(width, width, dtype=torch.float64)
        self._spectrum: tuple[Tensor, Tensor] | None = None

    def to(self, device: torch.device) -> None:
        self.matrix = self.matrix.to(device)
        self._spectrum = None

    def add(self, phi: Tensor) -> None:
        self.matrix += phi.T @ phi
        self._spectrum = None

    def close(self) -> None:
        self.matrix = self.matrix.to(self.kept).double()
        self._spectrum = None

    def times(self, weights: Tensor) -> Tensor:
        return self.matrix @ weights

    def smoother(self, ridge: float) -> float:
        values = self._decomposed()[0]
        return float((values / (values + ridge)).sum())

    def solve(self, right: Tensor, ridge: float) -> Tensor:
        if self._spectrum is not None:
            values, vectors = self._spectrum
            return vectors @ ((vectors.T @ right) / (values + ridge)[:, None])
        regularised = self.matrix.clone()
        regularised.diagonal().add_(ridge)
        factor, failed = torch.linalg.cholesky_ex(regularised)
        if failed:
            what = f"second moments of {self.width} features"
            raise RunError(f"{what}: not positive definite with ridge {ridge:.3g}; a larger one is needed")
        return torch.cholesky_solve(right, factor)

    def _decomposed(self) -> tuple[Tensor, Tensor]:
        if self._spectrum is None:
            values, vectors = torch.linalg.eigh(self.matrix)
            self._spectrum = values.clamp_min(0.0), vectors
        return self._spectrum

    def transport(self, by: Tensor) -> None:
        self.matrix = by @ self.matrix @ by.T
        self._spectrum = None

    def scale(self, factor: float) -> None:
        self.matrix *= factor
        self._spectrum = None

    @property
    def total(self) -> Tensor:
        return self.matrix[-1]

    @property
    def nbytes(self) -> int:
        return self.width * (self.width + 1) // 2 * self.kept.itemsize

    def state_dict(self) -> dict[str, Any]:
        upper = torch.triu_indices(self.width, self.width)
        return {"upper": self.matrix[upper[0], upper[1]].to(self.kept).cpu()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        upper = torch.triu_indices(self.width, self.width)
        values = state["upper"].to(self.matrix)
        self.matrix[upper[0], upper[1]] = values
        self.matrix[upper[1], upper[0]] = values
        self._spectrum = None


class LowRankMoments:
    """G approximated by B'B + diag(e): r rows B, float64 [r, p], and the diagonal e of the remainder.

    When a task ends, the singular vectors of B and the task's rows are cut to the r largest. With r = p nothing is cut
    and G is exact. Inside a task the rows are held as they are, as long as there are fewer than p of them, else as
    their Gram matrix.

    Args:
        width: p.
        rank: r, from 1 to p.
        kept: as for `FullMoments`.
    """

    def __init__(self, width: int, rank: int, kept: torch.dtype = torch.float32) -> None:
        self.width = width
        self.rank = min(rank, width)
        self.kept = kept
        self.factor = torch.zeros(0, width, dtype=torch.float64)
        self.diagonal = torch.zeros(width, dtype=torch.float64)
        self._total = torch.zeros(width, dtype=torch.float64)
        self._gram: Tensor | None = None

    def to(self, device: torch.device) -> None:
        self.factor, self.diagonal = self.factor.to(device), self.diagonal.to(device)
        self._total = self._total.to(device)

    def add(self, phi: Tensor) -> None:
        self._total += phi.sum(dim=0)
        if self._gram is not None:
            self._gram += phi.T @ phi
            return
        self.factor = torch.cat([self.factor, phi])
        if len(self.factor) >= self.width:
            self._gram = self.factor.T @ self.factor
            self.factor = self.factor[:0]

    def close(self) -> None:
        """Cut to r rows. Rows of `factor` are then orthogonal, longest first."""
        if self._gram is not None:
            before = self._gram.diagonal()
            values, vectors = torch.linalg.eigh(self._gram)
            cut = vectors[:, -self.rank :].T * values[-self.rank :].clamp_min(0.0).sqrt()[:, None]
        elif len(self.factor) > self.rank:
            before = self.factor.square().sum(dim=0)
            _, vectors = torch.linalg.eigh(self.factor @ self.factor.T)
            cut = vectors[:, -self.rank :].T @ self.factor
        else:
            before, cut = self.factor.square().sum(dim=0), self.factor.flip(0)
        self._gram = None
        self.factor = cut.flip(0).to(self.kept).double()
        left_out = (before - self.factor.square().sum(dim=0)).clamp_min(0.0)
        self.diagonal = (self.diagonal + left_out).to(self.kept).double()
        self._total = self._total.to(self.kept).double()

    def times(self, weights: Tensor) -> Tensor:
        return self.factor.T @ (self.factor @ weights) + self.diagonal[:, None] * weights

    def solve(self, right: Tensor, ridge: float) -> Tensor:
        """Solve by the Woodbury identity: O(p r (r + S)) operations."""
        inverse = (1 / (self.diagonal + ridge))[:, None]
        narrow = self.factor * inverse.T
        inner = narrow @ self.factor.T
        inner.diagonal().add_(1.0)
        return inverse * right - narrow.T @ torch.linalg.solve(inner, narrow @ right)

    def smoother(self, ridge: float) -> float:
        inverse = 1 / (self.diagonal + ridge)
        narrow = self.factor * inverse
        inner = narrow @ self.factor.T
        inner.diagonal().add_(1.0)
        trace = inverse.sum() - torch.linalg.solve(inner, narrow @ narrow.T).trace()
        return float(self.width - ridge * trace)

    def transport(self, by: Tensor) -> None:
        self.factor = self.factor @ by.T
        self.diagonal = by.square() @ self.diagonal
        self._total = by @ self._total

    def scale(self, factor: float) -> None:
        self.factor *= factor**0.5
        self.diagonal *= factor
        self._total *= factor

    @property
    def total(self) -> Tensor:
        return self._total

    @property
    def nbytes(self) -> int:
        return self.width * (self.rank + 2) * self.kept.itemsize

    def state_dict(self) -> dict[str, Any]:
        kept = {"factor": self.factor, "diagonal": self.diagonal, "total": self._total}
        return {name: tensor.to(self.kept).cpu() for name, tensor in kept.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.factor = state["factor"].to(self.factor)
        self.diagonal = state["diagonal"].to(self.diagonal)
        self._total = state["total"].to(self._total)
