"""Weighted analytic learning with completed labels, the plugin of `l3a`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from clsim.training.closed_form.features import ClosedForm, Features, computing_device
from clsim.training.closed_form.second_moments import FullMoments
from clsim.training.learner import Learner

GAIN = 10.0
"""DECIDED: logit = 10 (z - 1/2) of a regression z to 0 and 1. Published thresholds act on sigmoid(z), which is 0.5 to
0.73 for targets of 0 to 1; the order of scores is the same."""

AUTOMATIC = 1e-3
"""DECIDED: share of A's trace, on validation images of voc-mini with random layers of 1024 and 4096; the 1000 of the
released code suits the scale of one backbone."""


class RidgeSolver(Protocol):
    """Ridge regression that takes in rows of all tasks, one chunk after the other; see `RidgeSums`.

    Attributes:
        weight: float64 [p, S], up to date after `solve`.
    """

    weight: Tensor

    def to(self, device: torch.device) -> None:
        """Compute on a device."""
        ...

    def grow(self, n_classes: int) -> None:
        """Have a column for each of the first `n_classes` classes."""
        ...

    def add(self, phi: Tensor, labels: Tensor) -> None:
        """Take in rows, phi float64 [n, p] and labels float64 [n, S]."""
        ...

    def solve(self) -> None:
        """Bring `weight` up to date."""
        ...

    @property
    def nbytes(self) -> int:
        """What is kept of the rows, bytes."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class RidgeSums:
    """A = sum of phi phi' and C = sum of phi y', solved when a task ends.

    Args:
        width: p.
        ridge: above 0; None: `AUTOMATIC` times A's trace.
    """

    def __init__(self, width: int, ridge: float | None) -> None:
        self.ridge = ridge
        self.moments = FullMoments(width, kept=torch.float64)
        self.sums = torch.zeros(width, 0, dtype=torch.float64)
        self.weight = torch.zeros(width, 0, dtype=torch.float64)

    def to(self, device: torch.device) -> None:
        """Compute on a device."""
        self.moments.to(device)
        self.sums, self.weight = self.sums.to(device), self.weight.to(device)

    def grow(self, n_classes: int) -> None:
        """Have a column for each of the first `n_classes` classes."""
        new = n_classes - self.sums.shape[1]
        self.sums = torch.cat([self.sums, self.sums.new_zeros(len(self.sums), new)], dim=1)

    def add(self, phi: Tensor, labels: Tensor) -> None:
        """Take in rows, phi float64 [n, p] and labels float64 [n, S]; for weight w both come times sqrt(w)."""
        self.moments.add(phi)
        self.sums.addmm_(phi.T, labels)

    def solve(self) -> None:
        """Solve for `weight`.

        Raises:
            RunError: the ridge is too small for the rows.
        """
        ridge = AUTOMATIC * float(self.moments.matrix.trace()) if self.ridge is None else self.ridge
        self.weight = self.moments.solve(self.sums, ridge)

    @property
    def nbytes(self) -> int:
        return self.moments.nbytes + self.sums.nbytes

    def state_dict(self) -> dict[str, Any]:
        return {"moments": self.moments.state_dict(), "sums": self.sums, "weight": self.weight}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.moments.load_state_dict(state["moments"])
        self.sums, self.weight = state["sums"], state["weight"]


class WeightedAnalytic(ClosedForm):
    """Fill in a task's labels, weigh its rows, and write the head of the regression when the task ends.

    Args:
        solver: an empty one.
        features: see `check_features`.
        threshold: sigmoid(z) above which an unknown old class counts as present; None: all absent.
        weighted: weigh each row by the mean of its classes' weights, else 1.
    """

    def __init__(self, solver: RidgeSolver, features: Features, threshold: float | None, weighted: bool) -> None:
        super().__init__(features)
        self.solver = solver
        self.threshold = threshold
        self.weighted = weighted
        self.counts = torch.zeros(0, dtype=torch.float64)

    @property
    def nbytes(self) -> int:
        return self.solver.nbytes

    def finish_model(self, learner: Learner, **kwargs: Any) -> None:
        self.solver.to(computing_device(learner))
        before, known, classes = self.solver.weight, len(self.counts), learner.model.n_classes
        labels = learner.store.targets(learner.adapted_dataset.rows())[:, :classes].clamp_min(0.0)
        self.counts = torch.cat([self.counts, torch.zeros(classes - known).double()]) + labels.double().sum(dim=0)
        weights = class_weights(self.counts).to(before) if self.weighted else before.new_ones(classes)
        self.solver.grow(classes)
        for _, phi, visible in self.chunks(learner):
            completed = visible.clamp_min(0.0)
            if known and self.threshold is not None:
                found = (phi @ before).sigmoid() > self.threshold
                completed[:, :known] = torch.where(visible[:, :known] < 0, found.to(phi), completed[:, :known])
            root = row_weights(completed, weights).sqrt()[:, None]
            self.solver.add(root * phi, root * completed)
        self.solver.solve()
        found = self.solver.weight.T
        gain = torch.full_like(found[:, 0], GAIN)
        self.head(learner).write(found, gain, -gain / 2)

    def report(self, class_names: Sequence[str]) -> dict[str, float]:
        return {"closed_form/bytes": float(self.nbytes)}

    def state_dict(self) -> dict[str, Any]:
        return {"solver": self.solver.state_dict(), "counts": self.counts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.solver.load_state_dict(state["solver"])
        self.counts = state["counts"]


def class_weights(counts: Tensor) -> Tensor:
    """Return w_c = K v_c / sum v with v_c = n_c^-1/2, and 0 where n_c = 0; float64 [K] of counts [K]."""
    inverse = torch.where(counts > 0, counts.clamp_min(1e-300).rsqrt(), 0.0)
    return len(counts) * inverse / inverse.sum().clamp_min(math.ulp(0.0))


def row_weights(labels: Tensor, weights: Tensor) -> Tensor:
    """Return the mean weight of the classes that each row shows, float64 [n]; 1 for a row that shows none.

    Args:
        labels: float64 [n, K], 0..1.
        weights: float64 [K].
    """
    shown = labels.sum(dim=1)
    return torch.where(shown > 0, (labels @ weights) / shown.clamp_min(1e-300), 1.0)
