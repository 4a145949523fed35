"""What is kept of the rows of all tasks, and the multi-label head that follows from it."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from clsim.training.closed_form.second_moments import SecondMoments

Prior = Literal["rows", "task", "between"]

RIDGES = tuple(10 ** (quarter / 4) for quarter in range(-8, 9))
"""Strengths per row that cross-validation chooses from: 0.01 to 100, four a decade."""


class Solution(NamedTuple):
    """A head and the ridge it was solved with: weight float64 [p, S]; scale, offset float64 [S]; ridge per row."""

    weight: Tensor
    scale: Tensor
    offset: Tensor
    ridge: float


class ClassStatistics:
    """Second moments G of all rows, and for each class the sum of phi over its positives and their number.

        G = sum of phi phi'     over all rows, whatever their labels
        C_c = sum of y_c phi    over rows of the tasks in which y_c is known
        n_c = sum of y_c        likewise;  N rows in all

    A row without a visible 1 of a class counts as a negative of it, whether it came before the class's task or after:
    ridge regression of y_c on phi with y_c = 0 wherever it is unknown has the solution (G + ridge N I)^-1 C_c.

    Attributes:
        moments: G.
        sums: C, float64 [p, S].
        counts: n, float64 [S].
        squares: sum of y_c^2, float64 [S]; equal to n for labels in {0, 1}.
        own: share of positives among the rows of the task that brought the class, float64 [S].
        rows: N.

    Args:
        moments: empty ones.
        prior: the share of positives that probabilities assume: among all rows, which is too small where later tasks
            hide the class; among those of the class's own task, which is too large where a task's images are chosen
            by its classes; between: half-way in log odds. It moves no rank within a class.
    """

    def __init__(self, moments: SecondMoments, prior: Prior = "between") -> None:
        self.moments = moments
        self.prior = prior
        self.sums = torch.zeros(moments.width, 0, dtype=torch.float64)
        self.counts = torch.zeros(0, dtype=torch.float64)
        self.squares = torch.zeros(0, dtype=torch.float64)
        self.own = torch.zeros(0, dtype=torch.float64)
        self.rows = 0.0
        self._task_rows = 0

    @property
    def n_classes(self) -> int:
        """Number of classes S."""
        return self.sums.shape[1]

    def to(self, device: torch.device) -> None:
        """Compute on a device."""
        self.moments.to(device)
        for name in ("sums", "counts", "squares", "own"):
            setattr(self, name, getattr(self, name).to(device))

    def grow(self, n_classes: int) -> None:
        """Have room for the first `n_classes` classes."""
        new = n_classes - self.n_classes
        self.sums = torch.cat([self.sums, self.sums.new_zeros(self.moments.width, new)], dim=1)
        self.counts = torch.cat([self.counts, self.counts.new_zeros(new)])
        self.squares = torch.cat([self.squares, self.squares.new_zeros(new)])

    def add(self, phi: Tensor, labels: Tensor) -> None:
        """Take in rows.

        Args:
            phi: float64 [n, p].
            labels: float64 [n, S], 0..1; what is unknown is 0.
        """
        self.moments.add(phi)
        self.sums += phi.T @ labels
        self.counts += labels.sum(dim=0)
        self.squares += labels.square().sum(dim=0)
        self.rows += len(phi)
        self._task_rows += len(phi)

    def close(self) -> None:
        """End a task: what is kept from here on has the precision of the moments."""
        self.moments.close()
        self.sums = self.sums.to(self.moments.kept).double()
        brought = self.counts[len(self.own) :]
        self.own = torch.cat([self.own, (brought + 0.5) / (self._task_rows + 1)])
        self._task_rows = 0

    def standing_for(self, others: ClassStatistics) -> ClassStatistics:
        """Return these statistics of a few rows, scaled to count as those of others.

        DECIDED: G is scaled to the other rows' number, and each class's sum to its number of positives there.
        """
        self.moments.scale(others.rows / self.rows)
        self.sums *= others.counts / self.counts.clamp_min(1.0)
        for name in ("counts", "squares", "own", "rows"):
            setattr(self, name, getattr(others, name))
        return self

    def transport(self, by: Tensor) -> None:
        """Move all statistics to where a linear map of phi, float64 [p, p], takes them."""
        self.moments.transport(by)
        self.sums = by @ self.sums

    def solve(self, ridge: float | None) -> Solution:
        """Return the head.

        Args:
            ridge: strength of the ridge per row, above 0; None chooses it by cross-validation.
        """
        chosen = self._cross_validated() if ridge is None else ridge
        weight = self.moments.solve(self.sums, chosen * self.rows)
        return Solution(weight, *self._calibration(weight), chosen)

    def _cross_validated(self) -> float:
        """Return the ridge of `RIDGES` with the least generalised cross-validation error, summed over classes.

        GCV(ridge) = sum_c RSS_c / (1 - df / N)^2 (Golub, Heath & Wahba, Technometrics 1979); RSS_c = sum y_c^2 -
        2 w_c'C_c + w_c'G w_c and df = tr(G (G + ridge N I)^-1) need no row.
        """
        errors = {}
        for ridge in RIDGES:
            freedom = self.moments.smoother(ridge * self.rows)
            weight = self.moments.solve(self.sums, ridge * self.rows)
            residual = self.squares - 2 * (weight * self.sums).sum(dim=0) + (weight * self.moments.times(weight)).sum(0)
            if freedom < self.rows:
                errors[ridge] = float(residual.clamp_min(0.0).sum()) / (1 - freedom / self.rows) ** 2
        return min(errors, key=lambda ridge: errors[ridge], default=1.0)

    def _calibration(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return scale > 0 and offset, each [S], that turn w_c'phi into the log odds of y_c.

        Those of two Gaussians of equal variance v with the means m1 of positives and m0 of the other rows, and the
        share pi of positives:

            log odds = log(pi / (1 - pi)) + (m1 - m0) / v (w'phi - (m1 + m0) / 2)

        DECIDED: shares are (n + 1/2) / (N + 1), never 0 or 1. Where m1 <= m0 or v <= 0 (a class without a positive,
        or one whose weight is lost in the approximation of G) scale is 1 and the middle 0.
        """
        count = self.counts.clamp_min(1e-12)
        others = (self.rows - self.counts).clamp_min(1e-12)
        present = (weight * self.sums).sum(dim=0) / count
        absent = (weight.T @ self.moments.total - count * present) / others
        share = self.counts / max(self.rows, 1.0)
        spread = (weight * self.moments.times(weight)).sum(dim=0) / max(self.rows, 1.0)
        variance = spread - share * present.square() - (1 - share) * absent.square()
        usable = (present > absent) & (variance > 0) & (self.counts > 0)
        scale = torch.where(usable, (present - absent) / variance.clamp_min(1e-300), 1.0)
        middle = torch.where(usable, (present + absent) / 2, 0.0)
        among_rows, among_own = torch.logit((self.counts + 0.5) / (self.rows + 1)), torch.logit(self.own)
        log_odds = {"rows": among_rows, "task": among_own, "between": (among_rows + among_own) / 2}[self.prior]
        return scale, log_odds - scale * middle

    @property
    def nbytes(self) -> int:
        """Bytes of what is kept between tasks: G and C. Counts belong to classes and not to images."""
        return self.moments.nbytes + self.sums.shape[0] * self.sums.shape[1] * self._itemsize

    @property
    def _itemsize(self) -> int:
        return self.moments.kept.itemsize

    def state_dict(self) -> dict[str, Any]:
        return {
            "moments": self.moments.state_dict(),
            "sums": self.sums.to(self.moments.kept).cpu(),
            "counts": self.counts.cpu(),
            "squares": self.squares.cpu(),
            "own": self.own.cpu(),
            "rows": self.rows,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.moments.load_state_dict(state["moments"])
        for name in ("sums", "counts", "squares", "own"):
            setattr(self, name, state[name].to(getattr(self, name)))
        self.rows = state["rows"]


def rank_within(n_bytes: int, width: int, n_classes: int, itemsize: int) -> int | None:
    """Return the largest rank whose statistics fit into a number of bytes; None if full statistics fit.

    Raises:
        ValueError: not even rank 1 fits; the message says what would.
    """
    if itemsize * width * ((width + 1) / 2 + n_classes) <= n_bytes:
        return None
    rank = math.floor(n_bytes / (itemsize * width)) - 2 - n_classes
    if rank < 1:
        raise ValueError(
            f"given {n_bytes}, must be at least {itemsize * width * (3 + n_classes)}, statistics of rank 1"
        )
    return min(rank, width)
