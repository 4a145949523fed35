"""The metrics and loggers of the template while another process scores: they hand in, and know no truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from avalanche.evaluation.metric_results import MetricValue
from avalanche.logging import BaseLogger
from numpy.typing import NDArray

from clsim.errors import ClsimError
from clsim.evaluation.observer import scores_evaluation_stream
from clsim.evaluation.pictures import is_pictured
from clsim.evaluation.plugins import CollectedScores, MemorySize, TaskReport
from clsim.evaluation.samples import training_places
from clsim.running.scoring.desk import NO_METRIC, written_labels
from clsim.running.scoring.messages import Answer, Event, Pass, TrainingSample, Value, Wanted
from clsim.scenario.plan.stream_plan import StreamPlan
from clsim.training.memory.replay import Replay
from clsim.training.plugin import Plugin
from clsim.training.template import MultiLabelTemplate

SampledRows = Callable[[int], NDArray[np.int64]]
"""Task just trained -> row ids int64 [n] that a picture shows, none where none is due."""


class Scorer(Protocol):
    """The process that scores, as the one that trains sees it.

    Attributes:
        wanted: what is to be handed in.
    """

    wanted: Wanted

    def tell(self, what: str, *content: Any) -> None:
        """Call a method of the `Desk`, and do not wait for it."""
        ...

    def ask(self, what: str, *content: Any) -> Any:
        """Call a method of the `Desk` after all before it, and return what it returns."""
        ...

    def later(self, what: str, *content: Any) -> Answer:
        """Call a method of the `Desk`, do not wait for it, and return its answer to come, which must be small."""
        ...

    def close(self) -> None:
        """Let it end."""
        ...


def sampled_rows(plan: StreamPlan, n: int, pictures: str, task: int) -> NDArray[np.int64]:
    """Return the rows of a task that a picture shows, int64; none where none is due.

    Args:
        plan: may be without truth.
        n: most rows of a picture.
        pictures: after which tasks, see `is_pictured`.
        task: just trained.
    """
    if not n or not is_pictured(pictures, task + 1, len(plan.tasks)):
        return np.empty(0, dtype=np.int64)
    return plan.rows(task)[training_places(plan, task, n)]


class HandIn(CollectedScores):
    """Hands in the logits of each pass over the evaluation stream, and what parts have written and report.

    Args:
        scorer: takes it.
        size: of what is kept of earlier tasks; None: nothing is.
        replays: the plugins with a memory.
        reports: of other plugins.
        writers: plugins that have `written_labels`.
        sampled: see `SampledRows`.
        wait: wait for the numbers and emit them, for loggers that have the template.
    """

    def __init__(
        self,
        scorer: Scorer,
        size: MemorySize | None,
        replays: Sequence[Replay],
        reports: Sequence[TaskReport],
        writers: Sequence[Plugin],
        sampled: SampledRows,
        wait: bool,
    ) -> None:
        super().__init__()
        self.scorer = scorer
        self.size = size
        self.replays = list(replays)
        self.reports = list(reports)
        self.writers = list(writers)
        self.sampled = sampled
        self.wait = wait

    @staticmethod
    def of(template: MultiLabelTemplate) -> HandIn:
        """Return the one among a template's metrics."""
        metrics: list[Any] = template.evaluator.metrics
        return next(metric for metric in metrics if isinstance(metric, HandIn))

    def after_eval_exp(self, template: MultiLabelTemplate) -> list[MetricValue] | None:
        if not scores_evaluation_stream(template):
            return None
        rows, logits = self.take()
        scored = Pass(rows, logits)
        if not template.position.started:
            scored = Pass(
                rows,
                logits,
                _measured([self.size] if self.size is not None else [], template),
                _measured(self.reports, template),
                [written_labels(replay.memory) for replay in self.replays],
                {type(plugin).__name__: plugin.written_labels() for plugin in self.writers},
                self._sample(template),
            )
        event = Event("after_eval_exp", replace(template.position), replace(template.images), scored=scored)
        if not self.wait:
            self.scorer.tell("take", event)
            return None
        return [MetricValue(self, *value) for value in self.scorer.ask("take", event)]

    def _sample(self, template: MultiLabelTemplate) -> TrainingSample | ClsimError | None:
        rows = self.sampled(template.position.task - 1)
        if not len(rows):
            return None
        store = template.benchmark.train_rows
        try:
            return TrainingSample(
                store.targets(rows).numpy(), template.scored(template.model, store, rows, dealt=False)
            )
        except ClsimError as error:  # an image that cannot be decoded
            return error


class Forward(BaseLogger):
    """Passes on what was measured where the run trains: losses of epochs, and the lines of a shared first task."""

    def __init__(self, scorer: Scorer) -> None:
        super().__init__()
        self.scorer = scorer

    def before_training(self, template: MultiLabelTemplate, metric_values: list[MetricValue], **kwargs: Any) -> None:
        self._tell("before_training", template, [])

    def after_training_epoch(
        self, template: MultiLabelTemplate, metric_values: list[MetricValue], **kwargs: Any
    ) -> None:
        self._tell("after_training_epoch", template, metric_values)

    def after_eval_exp(self, template: MultiLabelTemplate, metric_values: list[MetricValue], **kwargs: Any) -> None:
        if metric_values and metric_values[0].origin is NO_METRIC:  # the others come from the process that scores
            self._tell("after_eval_exp", template, metric_values)

    def _tell(self, event: str, template: MultiLabelTemplate, values: list[MetricValue]) -> None:
        self.scorer.tell("take", Event(event, replace(template.position), replace(template.images), _plain(values)))


def _measured(metrics: Sequence[Any], template: MultiLabelTemplate) -> list[Value]:
    return [value for metric in metrics for value in _plain(metric.after_eval_exp(template) or [])]


def _plain(values: Sequence[MetricValue]) -> list[Value]:
    return [(value.name, value.value, value.x_plot) for value in values]
