"""The metrics of a run: the one evaluation pass, the loss terms of training, what a memory and plugins report."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from avalanche.evaluation.metric_results import MetricValue
from numpy.typing import NDArray

from clsim.errors import RunError
from clsim.evaluation.history import History
from clsim.evaluation.inside_tasks import epochs_done, kind_inside, place_inside
from clsim.evaluation.observer import Observer, scores_evaluation_stream
from clsim.training.events import provides
from clsim.training.memory.replay import Replay
from clsim.training.template import MultiLabelTemplate

log = logging.getLogger("clsim")


class CollectedScores(Observer):
    """Collects the logits of a pass over `evaluation_stream`; other streams are ignored.

    All metrics of order need all images of a class, so that the logits are in memory as a whole: 4 M S bytes for M
    images and S classes seen (160 MB for 40,000 images of 1,000 classes), twice while they are joined, and once more
    where another process scores them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._logits: list[Any] = []
        self._rows: list[Any] = []

    def reset(self) -> None:
        self._logits, self._rows = [], []

    def before_eval_exp(self, template: MultiLabelTemplate) -> None:
        self.reset()

    def after_eval_iteration(self, template: MultiLabelTemplate) -> None:
        if scores_evaluation_stream(template):
            self._logits.append(template.mb_output.float().cpu().numpy())
            if template.rows is None:
                raise RunError("StreamScores: a plugin has replaced the loader of the evaluation stream: no row ids")
            self._rows.append(template.rows.cpu().numpy())

    def take(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return row ids int64 [M] and logits float32 [M, S] of the pass, and forget them."""
        found = np.concatenate(self._rows), np.concatenate(self._logits)
        self.reset()
        return found


class StreamScores(CollectedScores):
    """Emits every metric of a pass over `evaluation_stream`.

    The truth lies in the plan and is joined by row id; the batches carry none. Metric values are placed at the number
    of tasks learnt. A pass inside a task leaves the history alone and emits `epoch/*` only, at the number of epochs
    done, or `images/*` at the number of new images trained on.
    """

    def __init__(self, history: History) -> None:
        super().__init__()
        self.history = history

    def result(self) -> float | None:
        return float(self.history.seen_map[self.history.last]) if self.history.last >= 0 else None

    def after_eval_exp(self, template: MultiLabelTemplate) -> list[MetricValue] | None:
        if not scores_evaluation_stream(template):
            return None
        ids, logits = self.take()
        rows = ids - self.history.plan.n_train_rows
        scores = np.empty((len(rows), logits.shape[1]), dtype=np.float32)
        scores[rows] = logits
        if template.position.started:
            values = self.history.inside.values(scores, template.position.task, kind_inside(template))
            return [MetricValue(self, name, value, place_inside(template)) for name, value in values.items()]
        done = template.position.task
        self.history.add(scores, done - 1)
        return [MetricValue(self, name, value, done) for name, value in self.history.values().items()]

    def state_dict(self) -> dict[str, Any]:
        return self.history.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.history.load_state_dict(state)


class EpochLosses(Observer):
    """Mean loss terms and the learning rate of each training epoch, placed at the number of epochs done."""

    def after_training_epoch(self, template: MultiLabelTemplate) -> list[MetricValue]:
        values = {f"loss/{name}": value for name, value in sorted(template.epoch_losses().items())}
        values["learning_rate"] = template.learning_rate
        done = epochs_done(template)
        return [MetricValue(self, name, value, done) for name, value in values.items()]


class MemorySize(Observer):
    """Rows of a replay memory after each task, and bytes of all that is kept of earlier tasks.

    Args:
        plugins: of the run; those with `nbytes` count.
        limit: bytes that they may keep together; more is a warning in the run's log. None: no limit in bytes.
    """

    def __init__(self, plugins: Sequence[Any], limit: int | None = None) -> None:
        super().__init__()
        self.plugins = [plugin for plugin in plugins if provides(plugin, "nbytes")]
        self.limit = limit

    @staticmethod
    def of(template: MultiLabelTemplate) -> MemorySize | None:
        """Return the one among a template's metrics; None: nothing is kept."""
        metrics: list[Any] = template.evaluator.metrics
        return next((metric for metric in metrics if isinstance(metric, MemorySize)), None)

    @property
    def rows(self) -> int | None:
        """Rows of the replay memory; None: there is none."""
        found = [len(plugin.memory) for plugin in self.plugins if isinstance(plugin, Replay)]
        return sum(found) if found else None

    @property
    def bytes(self) -> int:
        """Bytes of rows, logits and statistics together."""
        return sum(int(plugin.nbytes) for plugin in self.plugins)

    def result(self) -> int:
        return self.bytes

    def after_eval_exp(self, template: MultiLabelTemplate) -> list[MetricValue] | None:
        if not scores_evaluation_stream(template) or template.position.started:
            return None
        if self.limit is not None and self.bytes > self.limit:
            keepers = ", ".join(type(plugin).__name__ for plugin in self.plugins)
            log.warning("memory.budget.bytes: given %d, but %s keep %d", self.limit, keepers, self.bytes)
        sizes = ({} if self.rows is None else {"memory/rows": self.rows}) | {"memory/bytes": self.bytes}
        return [MetricValue(self, name, value, template.position.task) for name, value in sizes.items()]


class TaskReport(Observer):
    """Emits what a plugin reports of each task, by its `report(class_names) -> {tag: value}`, at the tasks done."""

    def __init__(self, plugin: Any, class_names: Sequence[str]) -> None:
        super().__init__()
        self.plugin = plugin
        self.class_names = class_names

    def after_eval_exp(self, template: MultiLabelTemplate) -> list[MetricValue] | None:
        if not scores_evaluation_stream(template) or template.position.started:
            return None
        done = template.position.task
        return [MetricValue(self, name, value, done) for name, value in self.plugin.report(self.class_names).items()]
