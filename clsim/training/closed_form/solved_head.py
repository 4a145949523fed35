"""The plugin of `moments`: statistics of all rows so far, and the head that they give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clsim.errors import RunError
from clsim.models.anchored_backbone import AnchoredBackbone
from clsim.training.closed_form.features import ClosedForm, Features, computing_device
from clsim.training.closed_form.statistics import ClassStatistics
from clsim.training.learner import Learner
from clsim.training.memory.replay import Replay
from clsim.training.snapshot import Snapshot

Unknown = Literal["absent", "soft", "half", "prior"]

TRANSPORT_RIDGE = 1e-2
"""DECIDED: strength, as a share of the mean square of phi over the task's rows, that holds the map of features to the
identity in directions these rows lack."""


class SolvedHead(ClosedForm):
    """Keep class statistics of phi, and write the head computed from them when a task ends.

    Args:
        new_statistics: makes empty ones.
        ridge: strength of the ridge per row; None: by cross-validation after each task.
        unknown: what unknown old classes of a task's rows count as: absent; soft: the probability that the head gave
            before the task; half: half of it; prior: 1 for the rows with the highest scores, as many as the share of
            the class among earlier rows, else 0.
        features: see `check_features`.
        snapshot: the model before the task, for `transport`.
    """

    def __init__(
        self,
        new_statistics: Callable[[], ClassStatistics],
        ridge: float | None,
        unknown: Unknown,
        features: Features,
        snapshot: Snapshot | None = None,
    ) -> None:
        super().__init__(features)
        self.new_statistics = new_statistics
        self.statistics = new_statistics()
        self.ridge = ridge
        self.unknown = unknown
        self.snapshot = snapshot
        self._ridge_used = 0.0

    @property
    def nbytes(self) -> int:
        return self.statistics.nbytes

    def finish_model(self, learner: Learner, **kwargs: Any) -> None:
        """Bring the statistics to the features of now, take in the task's rows, and solve for the head."""
        self.statistics.to(computing_device(learner))
        known = self.statistics.n_classes
        if not known and isinstance(learner.model.backbone, AnchoredBackbone):
            learner.model.backbone.drop_anchor()
        if known and self.features == "transport":
            self.statistics.transport(self._drift(learner))
        elif known and self.features == "memory":
            self._estimate_again(learner)
        complete = self._completion(learner, known)
        self.statistics.grow(learner.model.n_classes)
        for _, phi, labels in self.chunks(learner):
            assumed = torch.zeros_like(labels)
            if complete is not None:
                assumed[:, :known] = complete(phi)
            self.statistics.add(phi, torch.where(labels < 0, assumed, labels))
        self.statistics.close()
        solution = self.statistics.solve(self.ridge)
        self._ridge_used = solution.ridge
        self.head(learner).write(solution.weight.T, solution.scale, solution.offset)

    def _completion(self, learner: Learner, known: int) -> Callable[[Tensor], Tensor] | None:
        """Return a function phi [n, p] -> labels in 0..1 of the old classes, float64 [n, known]; None: all absent."""
        if self.unknown == "absent" or not known:
            return None
        solved = self.head(learner).solved
        weight, scale, offset = (
            tensor[:known].to(self.statistics.sums) for tensor in (solved.weight, solved.scale, solved.offset)
        )

        def logits(phi: Tensor) -> Tensor:
            return scale * (phi @ weight.T) + offset

        if self.unknown != "prior":
            factor = 0.5 if self.unknown == "half" else 1.0
            return lambda phi: factor * logits(phi).sigmoid()
        scores = torch.cat([logits(phi) for _, phi, _ in self.chunks(learner)])
        share = self.statistics.counts / self.statistics.rows
        places = (share * len(scores)).round().long().clamp(max=len(scores) - 1)
        least = scores.sort(dim=0, descending=True).values.gather(0, places[None])[0]
        return lambda phi: (logits(phi) > least).double()

    def _drift(self, learner: Learner) -> Tensor:
        """Return the linear map of phi from the model before the task to the one after it, float64 [p, p].

        Least squares over the task's rows, with a ridge towards the identity. DECIDED: in place of the mean shift of
        SDC (Yu et al., CVPR 2020), because second moments have to move too. The constant stays the constant.
        """
        before_task = None if self.snapshot is None else self.snapshot.model
        if before_task is None:
            raise RunError("moments: no model from before the task, by which features could be followed")
        width = self.statistics.moments.width
        identity = torch.eye(width).to(self.statistics.sums)
        before, across = torch.zeros_like(identity), torch.zeros_like(identity)
        for rows, new, _ in self.chunks(learner):
            old = self.phi(learner, rows, before_task)
            before += old.T @ old
            across += new.T @ old
        ridge = TRANSPORT_RIDGE * before.diagonal().mean() * identity
        return torch.linalg.solve(before + ridge, (across + ridge).T).T

    def _estimate_again(self, learner: Learner) -> None:
        """Replace the statistics by those of the memory's rows, scaled to the rows and positives they stand for."""
        replay = learner.find_plugin(Replay)
        if replay is None or not len(replay.memory):
            return
        rows: NDArray[np.int64] = replay.memory.rows
        before, now = self.statistics, self.new_statistics()
        now.to(computing_device(learner))
        now.grow(before.n_classes)
        labels = torch.from_numpy(replay.memory.labels[:, : before.n_classes]).to(before.sums)
        now.add(self.phi(learner, rows), labels.clamp_min(0.0))
        now.close()
        self.statistics = now.standing_for(before)

    def report(self, class_names: Sequence[str]) -> dict[str, float]:
        return {"closed_form/ridge": self._ridge_used, "closed_form/bytes": float(self.nbytes)}

    def state_dict(self) -> dict[str, Any]:
        return {"statistics": self.statistics.state_dict(), "ridge": self._ridge_used}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.statistics.load_state_dict(state["statistics"])
        self._ridge_used = state["ridge"]
