"""Gradient compensation (CGC of KBK, arXiv 2608.30316): an asymmetric loss whose old entries weigh by their error."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor

from clsim.training.learner import Learner
from clsim.training.losses.binary import asymmetric_entries, known_entries
from clsim.training.plugin import Plugin
from clsim.transfer import sent


def error_sums(logits: Tensor, targets: Tensor, groups: Tensor) -> Tensor:
    """Return sum and number of the errors g = |p - y| of each sign in each group, float [2, 2, M].

    Args:
        logits: z, float [B, S]; p = sigmoid(z).
        targets: y, float [B, C]: 1 present, 0 absent, (0, 1) soft, -1 unknown, which does not count. DECIDED: a soft
            label above 0.5 counts as present.
        groups: float [M, S], 1 where a class is of a group.

    Returns:
        By sign (present, absent), then sum and number, then group.
    """
    logits, targets, known = known_entries(logits.detach(), targets)
    error = (logits.sigmoid() - targets).abs()
    signs = torch.stack([known & (targets > 0.5), known & (targets <= 0.5)]).to(error.dtype)
    of_classes = torch.stack([(signs * error).sum(1), signs.sum(1)], dim=1)  # [2, 2, S]
    return of_classes @ groups.T


def compensation(logits: Tensor, targets: Tensor, groups: Tensor, sums: Tensor) -> Tensor:
    """Return psi, float [B, S]: the error of an entry by the mean error of its sign in its group.

        psi_ic = g_ic / G_m^(sign of y_ic) for a class c of group m,   1 for a class of no group

    The mean of psi over the entries of one sign in one group is 1. Where all errors there are 0, psi is 1. DECIDED: psi
    carries no gradient.

    Args:
        logits, targets, groups: as of `error_sums`.
        sums: of `error_sums`, of these rows or of the whole batch they are a part of.
    """
    logits, targets, _ = known_entries(logits.detach(), targets)
    error = (logits.sigmoid() - targets).abs()
    means = (sums[:, 0] / sums[:, 1].clamp(min=1)) @ groups  # [2, S], 0 for a class of no group
    mean = torch.where(targets > 0.5, means[0], means[1])
    return torch.where(mean > 0, error / mean, 1.0)


class CompensatedLoss(Plugin):
    """A criterion that is also run as a plugin, which tells it the classes of earlier tasks.

    DECIDED: a class belongs to the task that brought it; while it is in the task being trained, its psi is 1.

    Args:
        gamma_neg, gamma_pos, clip: of `clsim.training.losses.binary.asymmetric`.
    """

    def __init__(self, gamma_neg: float, gamma_pos: float, clip: float) -> None:
        super().__init__()
        self.focusing = {"gamma_neg": gamma_neg, "gamma_pos": gamma_pos, "clip": clip}
        self.group: list[int] = []
        self.current: list[int] = []
        self._groups: Tensor | None = None
        self._sums: tuple[weakref.ref[Tensor], Tensor] | None = None

    def before_training_exp(self, learner: Learner, **kwargs: Any) -> None:
        experience = learner.experience
        self.current = list(experience.classes_in_this_experience)
        new = len(experience.classes_seen_so_far) - len(self.group)
        self.group += new * [experience.current_experience]
        self._groups = None

    def after_forward(self, learner: Learner, **kwargs: Any) -> None:
        """Take the sums over the rows of the whole batch, of which a run on several ranks has a part here."""
        logits = learner.mb_output
        sums = learner.summed(error_sums(logits, learner.mb_y, self.groups(logits)))
        self._sums = weakref.ref(logits), sums

    def groups(self, like: Tensor) -> Tensor:
        """Return the classes of each earlier task, float [M, S], in the type and on the device of `like`."""
        if self._groups is None:
            old = [-1 if column in self.current else group for column, group in enumerate(self.group)]
            found = torch.tensor([[float(group == m) for group in old] for m in range(max(old, default=-1) + 1)])
            self._groups = sent(found.reshape(-1, len(old)).to(like.dtype), like.device)
        return self._groups

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of logits float [B, S] and targets float [B, C], a scalar."""
        groups = self.groups(logits)
        known = self._sums is not None and self._sums[0]() is logits
        sums = self._sums[1] if self._sums is not None and known else error_sums(logits, targets, groups)
        weights = compensation(logits, targets, groups, sums)
        return (asymmetric_entries(logits, targets, **self.focusing) * weights).sum() / max(1, len(logits))

    def state_dict(self) -> dict[str, Any]:
        return {"group": list(self.group), "current": list(self.current)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.group, self.current, self._groups = list(state["group"]), list(state["current"]), None
