"""Maximum entropy (CSC): a term that takes confidence from predictions of old classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor

from clsim.training.learner import Learner
from clsim.training.plugin import Plugin
from clsim.training.unknown import runs

EPSILON = 1e-5
"""Inside the logarithm, as in the released code."""


def negative_entropy(logits: Tensor, columns: Sequence[int], binary: bool = False) -> Tensor:
    """Return the negative entropy of predictions, by which a loss falls when they become uncertain.

        -H = 1/B sum_i sum_{c in columns} p_ic log(p_ic + 1e-5),   p = sigmoid(z)

    As published, this is no binary entropy: -p log p is greatest at p = 1/e, so the term pulls every probability, also
    one of 0.01, towards 0.37.

    Args:
        logits: z, float [B, S].
        columns: ascending.
        binary: add (1 - p) log(1 - p + 1e-5), whose pull is towards 1/2.

    Returns:
        A scalar of the logits' dtype.
    """
    p = logits.sigmoid()
    entries = p * (p + EPSILON).log()
    if binary:
        entries = entries + (1 - p) * (1 - p + EPSILON).log()
    total = entries.new_zeros(())
    for part in runs(tuple(columns)):
        total = total + entries[:, part].sum()
    return total / max(1, len(logits))


class MaximumEntropy(Plugin):
    """Adds beta times `negative_entropy` from the second task on.

    Args:
        beta: factor of the term.
        classes: old: of earlier tasks and none of this one; seen: all that the head has.
        binary: see `negative_entropy`.
    """

    def __init__(self, beta: float, classes: Literal["old", "seen"], binary: bool) -> None:
        super().__init__()
        self.beta = beta
        self.classes = classes
        self.binary = binary

    def before_backward(self, learner: Learner, **kwargs: Any) -> None:
        experience = learner.experience
        if experience.previous_classes:
            columns = experience.old_classes if self.classes == "old" else experience.classes_seen_so_far
            learner.add_loss("entropy", self.beta * negative_entropy(learner.mb_output, columns, self.binary))

    def state_dict(self) -> dict[str, Any]:
        return {}
