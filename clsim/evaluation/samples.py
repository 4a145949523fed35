"""A few images whose predictions are shown after each task: which images, and what is said of each class.

Evaluation images carry the truth. Training images carry what their rows show and nothing else: the functions here are
given labels, and those of a training row are the plan's visible values, -1 where nobody told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clsim.randomness import permutation
from clsim.scenario.plan.stream_plan import StreamPlan

Mark = Literal["right", "wrong", "missed", "untold", "to come"]


@dataclass(frozen=True)
class Verdict:
    """What is said of one class of one image.

    Attributes:
        mark: right: present and predicted; wrong: absent but predicted; missed: present but not predicted; untold:
            predicted, and no label says whether rightly; to come: present, but of a task that is not yet learnt.
        column: of the class.
        probability: predicted, 0..1; None for a class to come.
    """

    mark: Mark
    column: int
    probability: float | None


def verdicts(labels: NDArray[np.int8], probabilities: NDArray[np.float64], threshold: float) -> list[Verdict]:
    """What there is to say of one image: its present classes by column, then the others predicted, surest first.

    Args:
        labels: int8 [C], 1 present, 0 absent, -1 unknown.
        probabilities: float64 [S], of the classes seen so far, 0..1.
        threshold: p > threshold counts as predicted.
    """
    seen = len(probabilities)
    predicted = probabilities > threshold
    present = np.flatnonzero(labels == 1)
    found = [
        Verdict("right" if predicted[c] else "missed", int(c), float(probabilities[c])) for c in present[present < seen]
    ]
    others = np.flatnonzero(predicted & (labels[:seen] != 1))
    for c in others[np.argsort(-probabilities[others], kind="stable")]:
        found.append(Verdict("wrong" if labels[c] == 0 else "untold", int(c), float(probabilities[c])))
    return found + [Verdict("to come", int(c), None) for c in present[present >= seen]]


def evaluation_places(plan: StreamPlan, n: int) -> NDArray[np.int64]:
    """Places of up to `n` evaluation images, int64, the same after every task and for every seed and strategy.

    Each task in turn gives an image with one of its classes, then each again with its next class; of more tasks than
    `n`, evenly spread ones. Images come in the order of the tasks that asked for them.
    """
    n_tasks = len(plan.tasks)
    tasks = np.unique(np.linspace(0, n_tasks - 1, min(n, n_tasks)).round().astype(np.int64)).tolist()
    classes = [range(*plan.tasks[t].classes) for t in tasks]
    rounds = max((len(columns) for columns in classes), default=0)
    wanted = [columns[k] for k in range(rounds) for columns in classes if k < len(columns)]
    places = showing(plan.test_truth, wanted, n, "evaluation")
    return np.array([place for _, place in sorted(places, key=lambda found: found[0])], dtype=np.int64)


def training_places(plan: StreamPlan, task: int, n: int) -> NDArray[np.int64]:
    """Places of up to `n` rows of a task, int64, each of its new classes in turn, by what the rows show."""
    trained = plan.tasks[task]
    start, stop = trained.classes
    new = np.flatnonzero((trained.columns >= start) & (trained.columns < stop)).tolist()
    return np.array([place for _, place in showing(trained.values, new, n, "training", task)], dtype=np.int64)


def showing(labels: NDArray[np.int8], wanted: Sequence[int], n: int, *purpose: str | int) -> list[tuple[int, int]]:
    """Up to `n` pairs (column, row), each row with that column present and taken once, columns in turn.

    Which rows is derived from the purpose alone.

    Args:
        labels: int8 [N, K], 1 present.
        wanted: columns in the order in which they are asked for.
    """
    order = permutation(len(labels), 0, "samples", *purpose)
    left = {column: iter(order[labels[order, column] == 1].tolist()) for column in wanted}
    found: dict[int, int] = {}
    while left and len(found) < n:
        for column in list(left):
            row = next((row for row in left[column] if row not in found), None)
            if row is None:
                del left[column]
            else:
                found[row] = column
            if len(found) == n:
                break
    return [(column, row) for row, column in found.items()]
