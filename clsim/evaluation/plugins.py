"""Avalanche metric plugins: the one evaluation pass, and the loss terms of training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from avalanche.evaluation.metric_definitions import PluginMetric
from avalanche.evaluation.metric_results import MetricValue

from clsim.evaluation.history import History


class StreamScores(PluginMetric[float]):
    """Collects the logits of a pass over `evaluation_stream` and emits every metric after it.

    The truth lies in the plan and is joined by row id; the batches carry none. Other streams are ignored. Metric
    values are placed at the number of tasks learnt. A pass inside a task leaves the history alone and emits `epoch/*`
    only, at the number of epochs done.
    """

    def __init__(self, history: History) -> None:
        super().__init__()
        self.history = history
        self._logits: list[Any] = []
        self._rows: list[Any] = []

    def result(self) -> float | None:
        return float(self.history.seen_map[self.history.last]) if self.history.last >= 0 else None

    def reset(self) -> None:
        self._logits, self._rows = [], []

    def before_eval_exp(self, strategy: Any) -> None:
        self.reset()

    def after_eval_iteration(self, strategy: Any) -> None:
        if _is_evaluation(strategy):
            self._logits.append(strategy.mb_output.float().cpu().numpy())
            self._rows.append(strategy.mbatch[2].cpu().numpy())

    def after_eval_exp(self, strategy: Any) -> list[MetricValue] | None:
        if not _is_evaluation(strategy):
            return None
        rows = np.concatenate(self._rows) - self.history.plan.n_train_rows
        scores = np.empty((len(rows), self._logits[0].shape[1]), dtype=np.float32)
        scores[rows] = np.concatenate(self._logits)
        self.reset()
        if strategy.position.started:
            values = self.history.epoch_values(scores, strategy.position.task)
            return [MetricValue(self, name, value, epochs_done(strategy)) for name, value in values.items()]
        done = strategy.position.task
        self.history.add(scores, done - 1)
        return [MetricValue(self, name, value, done) for name, value in self.history.values().items()]

    def state_dict(self) -> dict[str, Any]:
        return self.history.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.history.load_state_dict(state)


class EpochLosses(PluginMetric[float]):
    """Mean loss terms and the learning rate of each training epoch, placed at the number of epochs done."""

    def result(self) -> float | None:
        return None

    def reset(self) -> None:
        """Nothing is kept between epochs."""

    def after_training_epoch(self, strategy: Any) -> list[MetricValue]:
        values = {f"loss/{name}": value for name, value in sorted(strategy.epoch_losses().items())}
        values["learning_rate"] = strategy.learning_rate
        done = epochs_done(strategy)
        return [MetricValue(self, name, value, done) for name, value in values.items()]


class MemorySize(PluginMetric[int]):
    """Rows and bytes of a replay memory after each task; the bytes count labels, provenance and images."""

    def __init__(self, replay: Any) -> None:
        super().__init__()
        self.replay = replay

    def result(self) -> int:
        return len(self.replay.memory)

    def reset(self) -> None:
        """The memory belongs to the strategy."""

    def after_eval_exp(self, strategy: Any) -> list[MetricValue] | None:
        if not _is_evaluation(strategy) or strategy.position.started:
            return None
        sizes = {"memory/rows": len(self.replay.memory), "memory/bytes": self.replay.nbytes}
        return [MetricValue(self, name, value, strategy.position.task) for name, value in sizes.items()]


class TaskReport(PluginMetric[float]):
    """Emits what a plugin reports of each task, by its `report(class_names) -> {tag: value}`, at the tasks done."""

    def __init__(self, plugin: Any, class_names: Sequence[str]) -> None:
        super().__init__()
        self.plugin = plugin
        self.class_names = class_names

    def result(self) -> float | None:
        return None

    def reset(self) -> None:
        """The numbers belong to the plugin."""

    def after_eval_exp(self, strategy: Any) -> list[MetricValue] | None:
        if not _is_evaluation(strategy) or strategy.position.started:
            return None
        done = strategy.position.task
        return [MetricValue(self, name, value, done) for name, value in self.plugin.report(self.class_names).items()]


def epochs_done(strategy: Any) -> int:
    """Epochs of the whole run at the end of the current one, before the position moves on."""
    position = strategy.position
    return int(position.task * strategy.train_epochs + position.epoch + 1)


def _is_evaluation(strategy: Any) -> bool:
    return bool(strategy.experience.origin_stream.name == "evaluation")
