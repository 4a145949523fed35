"""A head in closed form: ridge regression on frozen features, from sums that are kept in place of images.

clsim compare digits-b0c2 --strategies docs/examples/closed_form.py:Ridge,er --set training.model.freeze=backbone

After each task G = sum of phi phi' over all rows so far, and C_c = sum of phi over the visible positives of class c;
the head is w_c = (G + ridge N I)^-1 C_c. There is no epoch and no step. A row without a visible 1 of a class counts as
a negative of it. phi = (sqrt(d) f / |f|, 1) of features f, float [d].
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field

from clsim import kit


class Ridge(kit.Strategy):
    """Write a ridge regression into the head after each task; train nothing."""

    name = "ridge"
    claims = frozenset({"memory", "weights"})
    closed_form = True

    class Options(kit.Options):
        ridge: float = Field(1.0, gt=0, description="strength of the regularisation, per row")

    options: Options

    def network(self, network: kit.MultiLabelNet, seed: int) -> kit.MultiLabelNet:
        network.requires_grad_(False)
        network.head = RidgeHead(network.head.n_features, seed)
        return network

    def plugins(self, context: kit.Context) -> list[kit.Plugin]:
        return [Sums(self.options.ridge)]


class RidgeHead(kit.Head):
    """phi(features) times a matrix that nobody trains."""

    def __init__(self, n_features: int, seed: int) -> None:
        super().__init__(n_features, seed)
        self.register_buffer("weight", torch.zeros(0, n_features + 1))

    def add_classes(self, columns: range) -> None:
        self.weight = torch.cat([self.weight, self.weight.new_zeros(len(columns), self.n_features + 1)])

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        return 10 * (phi(features) @ self.weight.T - 0.5)  # a target of 0.5 becomes a probability of 0.5


def phi(features: torch.Tensor) -> torch.Tensor:
    """Return (sqrt(d) f / |f|, 1), float [B, d + 1], of features f, float [B, d]."""
    scaled = torch.nn.functional.normalize(features) * features.shape[1] ** 0.5
    return torch.cat([scaled, scaled.new_ones(len(scaled), 1)], dim=1)


class Sums(kit.Plugin):
    """Keeps G, C and N, and solves for the head when a task ends."""

    def __init__(self, ridge: float) -> None:
        super().__init__()
        self.ridge = ridge
        self.gram = torch.zeros(0, 0, dtype=torch.float64)
        self.sums = torch.zeros(0, 0, dtype=torch.float64)
        self.rows = 0

    @property
    def nbytes(self) -> int:
        return self.gram.nbytes + self.sums.nbytes

    def finish_model(self, learner: kit.Learner, **kwargs: Any) -> None:
        """Take in the task's rows in one pass, then write the head."""
        rows, own = learner.adapted_dataset.rows(), learner.experience.classes_in_this_experience
        width = learner.model.head.n_features + 1
        sums = torch.zeros(width, learner.model.n_classes, dtype=torch.float64)
        if self.rows:
            sums[:, : self.sums.shape[1]] = self.sums
        else:
            self.gram = torch.zeros(width, width, dtype=torch.float64)
        for part in (rows[start : start + 4096] for start in range(0, len(rows), 4096)):
            features = torch.from_numpy(learner.scored(learner.model.trunk, learner.store, part))
            x = phi(features.double())
            self.gram += x.T @ x
            sums[:, own] += x.T @ (learner.store.targets(part)[:, own] == 1).double()
        self.sums = sums
        self.rows += len(rows)
        regularised = self.gram + self.ridge * self.rows * torch.eye(width, dtype=torch.float64)
        learner.model.head.weight.copy_(torch.linalg.solve(regularised, sums).T)

    def state_dict(self) -> dict[str, Any]:
        return {"gram": self.gram, "sums": self.sums, "rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.gram, self.sums, self.rows = state["gram"], state["sums"], state["rows"]
