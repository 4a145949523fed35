"""Gaussian features that stand for the rows of earlier tasks, the plugin of `feature-replay`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from clsim.randomness import derive_seed
from clsim.training.closed_form.second_moments import LowRankMoments
from clsim.training.learner import Learner
from clsim.training.plugin import Plugin
from clsim.vocabulary import UNKNOWN

CHUNK = 4096
"""Rows whose features are held at once."""


class GaussianFeatures(Plugin):
    """Keep each task's mean feature and one covariance within tasks; add draws from these Gaussians to each step.

    The labels of a drawn row are absent for the classes of the task being trained and unknown for all others. Absent
    is correct as far as no image of the earlier task came back. A draw is clipped to the range of real features.

    Args:
        width: d of the features.
        rank: of the covariance, which is r rows and the diagonal of the rest.
        share: draws for each new row of a step.
        seed: the run's seed.
    """

    def __init__(self, width: int, rank: int, share: float, seed: int) -> None:
        super().__init__()
        self.share = share
        self.seed = seed
        self.means = torch.zeros(0, width)
        self.rows = torch.zeros(0)
        self.least = torch.full((width,), float("inf"))
        self.most = torch.full((width,), -float("inf"))
        self.within = LowRankMoments(width, rank)

    @property
    def nbytes(self) -> int:
        limits = self.least.nbytes + self.most.nbytes
        return (self.means.nbytes + limits + self.within.nbytes) if len(self.means) else 0

    def before_training_iteration(self, learner: Learner, **kwargs: Any) -> None:
        number = round(self.share * learner.batch_rows)
        if len(self.means) and number:
            seed = derive_seed(self.seed, "feature replay", *learner.position.place)
            part = learner.part(number)
            x = self.draw(number, torch.Generator().manual_seed(seed))[part.rows]
            y = torch.full((len(x), learner.mb_y.shape[1]), float(UNKNOWN))
            y[:, learner.experience.classes_in_this_experience] = 0.0
            learner.extend_batch(x, y, torch.full((len(x),), -1, dtype=torch.long), part=part)

    def draw(self, number: int, generator: torch.Generator) -> Tensor:
        """Return features of earlier tasks' rows as the Gaussians give them, float32 [number, d]."""
        task = torch.multinomial(self.rows, number, replacement=True, generator=generator)
        total = float(self.rows.sum())
        along = torch.randn(number, len(self.within.factor), generator=generator) @ self.within.factor.float()
        beside = torch.randn(number, len(self.least), generator=generator) * self.within.diagonal.float().sqrt()
        drawn = self.means[task] + (along + beside) / total**0.5
        return drawn.clamp(self.least, self.most)

    def after_training_exp(self, learner: Learner, **kwargs: Any) -> None:
        """Take in the task's features."""
        rows = learner.adapted_dataset.rows()
        parts = [learner.store.stored(rows[start : start + CHUNK]) for start in range(0, len(rows), CHUNK)]
        mean = sum((part.double().sum(dim=0) for part in parts), torch.zeros(1).double()) / len(rows)
        for part in parts:
            self.within.add(part.double() - mean)
            self.least = torch.minimum(self.least, part.amin(dim=0))
            self.most = torch.maximum(self.most, part.amax(dim=0))
        self.within.close()
        self.means = torch.cat([self.means, mean.float()[None]])
        self.rows = torch.cat([self.rows, torch.tensor([float(len(rows))])])

    def state_dict(self) -> dict[str, Any]:
        kept = {name: getattr(self, name) for name in ("means", "rows", "least", "most")}
        return kept | {"within": self.within.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.within.load_state_dict(state["within"])
        for name in ("means", "rows", "least", "most"):
            setattr(self, name, state[name])
