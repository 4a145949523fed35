"""How good the labels of a replay memory are, against the truth that the learner never sees.

Nothing here flows back: these functions take the memory's content and the truth and return numbers for the log.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from avalanche.evaluation.metric_results import MetricValue
from numpy.typing import NDArray

from clsim.evaluation.observer import Observer, scores_evaluation_stream
from clsim.training.memory.replay import Replay
from clsim.training.template import MultiLabelTemplate
from clsim.vocabulary import MEMORY_QUALITY, STATES

GIVEN, RIGHT, WRONG, STILL_UNKNOWN = range(len(STATES))

ROWS_AT_ONCE = 4096
"""Rows whose entries are counted together; it bounds the memory that counting takes."""

States = NDArray[np.int8]
Tasks = Sequence[tuple[int, int]]


def entry_states(labels: NDArray[np.floating], provenance: NDArray[np.integer], truth: NDArray[np.integer]) -> States:
    """The state of each entry, int8 [M, C]; see `STATES`. A soft label says present above 0.5.

    DECIDED: a relabelled entry whose truth nobody knows counts as unknown.

    Args:
        labels: float [M, C]: 1, 0, -1 unknown, (0, 1) soft.
        provenance: int [M, C]: -1 unknown, 0 given, k + 1 relabelled after task k.
        truth: int [M, C]: 1, 0, -1 not annotated in the data set.
    """
    right = (labels > 0.5) == (truth == 1)
    relabelled = np.where(truth < 0, STILL_UNKNOWN, np.where(right, RIGHT, WRONG))
    return np.select([provenance == 0, provenance > 0], [GIVEN, relabelled], STILL_UNKNOWN).astype(np.int8)


def label_quality(labels: NDArray[np.floating], states: States, truth: NDArray[np.integer]) -> dict[str, float]:
    """Quality of the relabelled entries, in percent; NaN where there is nothing to divide by.

    Args:
        labels, truth: as in `entry_states`.
        states: int8 [M, C].

    Returns:
        coverage: relabelled entries of all that the stream did not give.
        precision, FPR, FNR: of the relabelled entries, present against absent.
        KL: Kullback-Leibler divergence in nats from the true distribution of classes over all entries to the one that
            the memory shows (its positives; a soft label counts by its value, an unknown entry not at all). DECIDED:
            half a positive is added to every class of both, so that a class the memory does not show costs a finite
            amount.
    """
    relabelled, says, present = (states == RIGHT) | (states == WRONG), labels > 0.5, truth == 1
    tp, fp = np.sum(relabelled & says & present), np.sum(relabelled & says & ~present)
    fn, tn = np.sum(relabelled & ~says & present), np.sum(relabelled & ~says & ~present)
    values = (
        _percent(relabelled.sum(), np.sum(states != GIVEN)),
        _percent(tp, tp + fp),
        _percent(fp, fp + tn),
        _percent(fn, fn + tp),
        _divergence(present.sum(axis=0), np.clip(labels, 0, None).sum(axis=0, dtype=np.float64)),
    )
    return dict(zip(MEMORY_QUALITY, values, strict=True))


def written_quality(values: NDArray[np.floating], truth: NDArray[np.integer]) -> dict[str, float]:
    """Quality of labels that a part has written, in percent; NaN where there is nothing to divide by.

    Args:
        values: float [n], 0..1; above 0.5 says present.
        truth: int [n], 1, 0, -1 not annotated in the data set, which counts nowhere but in `entries`.

    Returns:
        entries: their number.
        precision, FPR, FNR: present against absent.
    """
    says, present, absent = values > 0.5, truth == 1, truth == 0
    tp, fp, fn = (np.sum(said & is_so) for said, is_so in ((says, present), (says, absent), (~says, present)))
    rates = _percent(tp, tp + fp), _percent(fp, absent.sum()), _percent(fn, present.sum())
    return {"entries": len(values), **dict(zip(("precision", "FPR", "FNR"), rates, strict=True))}


def ones_beside(
    labels: NDArray[np.floating], provenance: NDArray[np.integer], truth: NDArray[np.integer], above: NDArray[np.bool_]
) -> dict[str, int]:
    """Ones written above and below the diagonal of the label block matrix, and the true ones that lie there.

    Args:
        labels, provenance, truth: as in `entry_states`.
        above: bool [M, C], classes newer than the task that stored the row.

    Returns:
        ones_above, ones_below: relabelled entries that say present.
        hidden_above, hidden_below: entries there that are truly present and that the stream did not give.
    """
    beside, told = provenance != 0, (provenance > 0) & (labels > 0.5)
    counts = {}
    for name, where in (("above", above), ("below", ~above)):
        counts[f"ones_{name}"] = int(np.sum(told & where))
        counts[f"hidden_{name}"] = int(np.sum(beside & (truth == 1) & where))
    return counts


def label_blocks(states: States, stored_by: NDArray[np.integer], tasks: Tasks) -> NDArray[np.int64]:
    """Return the label block matrix: entries by storing task, task of the class and state, int64 [T, T, 4].

    Args:
        states: int8 [M, S], entries of the classes of `tasks`.
        stored_by: int [M], task that stored each row.
        tasks: column range [start, stop) of each of the T tasks so far.
    """
    shape = (len(tasks), len(tasks), len(STATES))
    of_class = np.repeat(np.arange(len(tasks)), [stop - start for start, stop in tasks])
    blocks = np.zeros(np.prod(shape), dtype=np.int64)
    for first in range(0, len(states), ROWS_AT_ONCE):
        part = slice(first, first + ROWS_AT_ONCE)
        place = (stored_by[part, None] * len(tasks) + of_class) * len(STATES) + states[part]
        blocks += np.bincount(place.ravel(), minlength=len(blocks))
    return blocks.reshape(shape)


class MemoryLabels(Observer):
    """Emits `memory/<name>` for the labels of a replay memory after each task, over the classes seen so far.

    Attributes:
        courses: name -> its value after each task.
        blocks: the label block matrix after the last task, int64 [T, T, 4].

    Args:
        replay: the replay plugin whose memory is looked at.
        truth: int8 [R, C], true labels of all training rows by row id.
        tasks: column range [start, stop) of each task.
    """

    def __init__(self, replay: Replay, truth: NDArray[np.int8], tasks: Tasks) -> None:
        super().__init__()
        self.replay = replay
        self.truth = truth
        self.tasks = tasks
        self.courses: dict[str, list[float]] = {}
        self.blocks = np.zeros((0, 0, len(STATES)), dtype=np.int64)

    @staticmethod
    def of(template: MultiLabelTemplate) -> MemoryLabels | None:
        """The one among a template's metrics, if its run has a memory."""
        return next((metric for metric in template.evaluator.metrics if isinstance(metric, MemoryLabels)), None)

    def result(self) -> float | None:
        return self.courses["precision"][-1] if self.courses else None

    def after_eval_exp(self, template: MultiLabelTemplate) -> list[MetricValue] | None:
        if not scores_evaluation_stream(template) or template.position.started:
            return None
        done = template.position.task
        values = self.measure(done)
        for name, value in values.items():
            self.courses.setdefault(name, []).append(value)
        return [MetricValue(self, f"memory/{name}", value, done) for name, value in values.items()]

    def measure(self, done: int) -> dict[str, float]:
        """The numbers of the memory after `done` tasks; also sets `blocks`."""
        memory, tasks = self.replay.memory, self.tasks[:done]
        seen = tasks[-1][1]
        labels, provenance = memory.labels[:, :seen], memory.provenance[:, :seen]
        truth = self.truth[memory.rows, :seen]
        states = entry_states(labels, provenance, truth)
        task_of_class = np.repeat(np.arange(done), [stop - start for start, stop in tasks])
        above = task_of_class[None] > memory.stored_by[:, None]
        self.blocks = label_blocks(states, memory.stored_by, tasks)
        return label_quality(labels, states, truth) | ones_beside(labels, provenance, truth, above)

    def summary(self) -> dict[str, Any]:
        """What `result.json` records: the courses over the tasks, and the last block matrix with its states' names."""
        return {**self.courses, "states": list(STATES), "blocks": self.blocks.tolist()}

    def state_dict(self) -> dict[str, Any]:
        return {
            "courses": {name: list(values) for name, values in self.courses.items()},
            "blocks": torch.tensor(self.blocks),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.courses = {name: list(values) for name, values in state["courses"].items()}
        blocks = torch.as_tensor(state["blocks"], dtype=torch.int64).numpy()  # nested lists in a state of clsim 0.1.0
        self.blocks = blocks.reshape(len(blocks), len(blocks), len(STATES))


def _percent(part: Any, whole: Any) -> float:
    return 100 * float(part) / float(whole) if whole else math.nan


def _divergence(true: NDArray[Any], shown: NDArray[Any]) -> float:
    p, q = true + 0.5, shown + 0.5
    p, q = p / p.sum(), q / q.sum()
    return float((p * np.log(p / q)).sum())
