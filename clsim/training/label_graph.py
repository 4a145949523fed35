"""The graph of AGCN (Du et al., ICME 2022, arXiv 2203.05534): which classes are shown together, in four blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clsim.models.label_graph import LabelGraphHead
from clsim.training.learner import Learner
from clsim.training.plugin import Plugin
from clsim.training.snapshot import Snapshot
from clsim.transfer import sent

Floats = NDArray[np.float64]
PUBLISHED_WIDTH = 2048
"""Features of the backbone that the published factor of the graph's term goes with."""


@dataclass(frozen=True)
class Statistics:
    """How often classes are shown together; row i and column j of a block are P(i | j).

    Attributes:
        new_new: N_ij / N_j over the labels of the task's classes, 0 on the diagonal, float64 [n, n].
        old_new: sum of s_i over the rows with j, / N_j, float64 [o, n].
        new_old: P(j | i) = P(i | j) P(j) / P(i) by Bayes, of new j and old i, float64 [n, o].
    """

    new_new: Floats
    old_new: Floats
    new_old: Floats


def statistics(labels: Floats, soft: Floats) -> Statistics:
    """Return the statistics of a task's rows; a class without positives has zeros.

    Args:
        labels: 1 where a class of the task is visibly present, else 0, float64 [R, n].
        soft: s, what the model before the task says of old classes, in 0..1, float64 [R, o].
    """
    counts = labels.sum(axis=0)
    together = labels.T @ labels
    np.fill_diagonal(together, 0)
    old_new = _divided(soft.T @ labels, counts)
    new_old = _divided(old_new.T * counts[:, None], soft.sum(axis=0))  # P(j) / P(i) = N_j / sum s_i
    return Statistics(_divided(together, counts), old_new, new_old)


def _divided(block: Floats, by: Floats) -> Floats:
    return np.divide(block, by, out=np.zeros_like(block), where=by > 0)


def binarised(block: Floats, threshold: float, scale: float) -> Floats:
    """Return ones where a block reaches the threshold, divided by their number in the column, times `scale`.

    A threshold of 0 gives ones everywhere.
    """
    ones = (block >= threshold).astype(np.float64)
    return scale * _divided(ones, ones.sum(axis=0))


def normalised(block: Floats, exponent: float) -> Floats:
    """Return D^-e (A + I) D^-e of a square block A without diagonal, D the row sums of A + I."""
    own = block + np.eye(len(block))
    factors = own.sum(axis=1) ** -exponent
    return factors[:, None] * own * factors[None]


@dataclass(frozen=True)
class GraphOptions:
    """How a graph is made of statistics; see the options of `agcn`."""

    threshold: float
    cross_threshold: float
    first_threshold: float
    halve: bool


def blocks(found: Statistics, options: GraphOptions) -> tuple[Floats, Floats, Floats]:
    """Return the blocks of P that a task writes: new-new, old-new and new-old.

    Scale and exponent are those of the released code: 0.25 and 0.5; in the first task, which has no old classes, 0.28
    and 0.8.
    """
    first = not found.old_new.size
    scale, exponent = (0.28, 0.8) if first else (0.25, 0.5)
    own = binarised(found.new_new, options.first_threshold if first else options.threshold, scale)
    crossed = [found.old_new, found.new_old * (0.5 if options.halve else 1.0)]
    old_new, new_old = (binarised(block, options.cross_threshold, scale) for block in crossed)
    return normalised(own, exponent), old_new, new_old


class LabelGraph(Plugin):
    """Writes the graph of a `LabelGraphHead` before a task is trained, and holds the classifiers of old classes.

        L_graph = weight |C_t| / |O| sum over old classes of ||h_c - h_c of the model before the task||^2 / 2048

    The block of old classes stays as earlier tasks have written it. A class that comes back is among the task's.

    DECIDED: counts are taken once, of the visible labels of all rows of the task, where the source counts batch by
    batch, so that its graph depends on the order of batches; a soft label above 0.5 counts as present. s is the SOFTMAX
    over the old logits of the model before the task, as in the source. |C_t|: see `kit.balanced_distillation`. DECIDED:
    2048 whatever the width d, where the source has the mean over its d = 2048. A logit is a sum over d, so the mean
    over fewer features would hold it tighter, over 64 by a factor of 32.

    Args:
        options: of the graph.
        weight: factor of L_graph.
        snapshot: the run's, from `Context.snapshot`.
    """

    def __init__(self, options: GraphOptions, weight: float, snapshot: Snapshot) -> None:
        super().__init__()
        self.options = options
        self.weight = weight
        self.snapshot = snapshot

    def before_training_exp(self, learner: Learner, **kwargs: Any) -> None:
        experience, head = learner.experience, learner.model.head
        assert isinstance(head, LabelGraphHead)
        rows = learner.adapted_dataset.rows()
        new = np.array(experience.classes_in_this_experience, dtype=np.int64)
        old = np.array(experience.old_classes, dtype=np.int64)
        labels = (learner.store.targets(rows).numpy()[:, new] > 0.5).astype(np.float64)
        soft = np.zeros((len(rows), len(old)))
        if self.snapshot.model is not None and len(old):
            logits = learner.scored(self.snapshot.model, learner.store, rows)[:, old].astype(np.float64)
            soft = torch.from_numpy(logits).softmax(dim=1).numpy()
        new_new, old_new, new_old = blocks(statistics(labels, soft), self.options)
        matrix = head.matrix.cpu().numpy().astype(np.float64)
        matrix[np.ix_(new, new)], matrix[np.ix_(old, new)], matrix[np.ix_(new, old)] = new_new, old_new, new_old
        head.matrix.copy_(sent(torch.from_numpy(matrix.astype(np.float32)), head.matrix.device))

    def before_backward(self, learner: Learner, **kwargs: Any) -> None:
        teacher = self.snapshot.on(learner.device)
        if teacher is None or not self.weight:
            return
        term = held(_classifiers(learner.model.head), _classifiers(teacher.head).detach())
        learner.add_loss("graph", self.weight * term)

    def state_dict(self) -> dict[str, Any]:
        return {}  # the graph belongs to the head, the teacher to the snapshot


def held(student: Tensor, teacher: Tensor) -> Tensor:
    """Return max(1, S - O) times the squared distance of a class's classifiers, by 2,048, as a mean over old classes.

    Args:
        student: float [S, d].
        teacher: float [O, d], of the old classes.
    """
    old = len(teacher)
    return max(1, len(student) - old) * (student[:old] - teacher).square().sum(dim=1).mean() / PUBLISHED_WIDTH


def _classifiers(head: torch.nn.Module) -> Tensor:
    assert isinstance(head, LabelGraphHead)
    return head.classifiers()
