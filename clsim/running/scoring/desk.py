"""The metrics and loggers of a run, fed by messages: what the process that scores does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from avalanche.evaluation.metric_results import MetricValue
from avalanche.logging import BaseLogger
from numpy.typing import NDArray

from clsim.errors import ClsimError
from clsim.evaluation.history import History
from clsim.evaluation.memory_labels import MemoryLabels, written_quality
from clsim.evaluation.plugins import StreamScores
from clsim.evaluation.sample_pictures import SamplePictures
from clsim.files import GrowingFile
from clsim.running.checkpoint_files import scores_of, write_part
from clsim.running.result import Facts, write_result
from clsim.running.run_folder import RunFolder
from clsim.running.scoring.messages import Answer, Beginning, Event, Pass, TrainingSample, Value, Wanted, WrittenLabels
from clsim.strict_json import Object
from clsim.training.events import callbacks

NO_METRIC: Any = None
"""Loggers read only the names, values and steps of what was measured elsewhere."""


class Desk:
    """Takes what a run hands in, says how good it is, and writes it into the run's folder.

    Args:
        history: of the scores; its plan has the truth.
        loggers: those whose files belong to the folder.
        row_truth: int8 [R, C], true labels of the training rows by row id; None: nobody looks at labels of memories.
    """

    def __init__(
        self, history: History, loggers: Sequence[BaseLogger], row_truth: NDArray[np.int8] | None = None
    ) -> None:
        self.history = history
        self.loggers = list(loggers)
        self.row_truth = row_truth
        self.scores = StreamScores(history)
        self.labels: list[MemoryLabels] = []
        self.memories: list[SimpleNamespace] = []
        self.beginning = Beginning(0, 1, "task")

    @property
    def wanted(self) -> Wanted:
        """What is to be handed in."""
        pictures = next((logger for logger in self.loggers if isinstance(logger, SamplePictures)), None)
        shown = (0, "none") if pictures is None else (pictures.n, pictures.pictures)
        return Wanted(self.row_truth is not None, *shown)

    def begin(self, beginning: Beginning) -> None:
        """Take what stays as it is during the run, before anything else."""
        self.beginning = beginning
        tasks = tuple(task.classes for task in self.history.plan.tasks)
        if self.row_truth is not None:
            self.memories = [SimpleNamespace(memory=None) for _ in range(beginning.memories)]
            stand_ins: list[Any] = self.memories
            self.labels = [MemoryLabels(stand_in, self.row_truth, tasks) for stand_in in stand_ins]

    def take(self, event: Event) -> list[Value]:
        """Let metrics and loggers know of an event; return every number of it."""
        template: Any = _Seen(event, self)
        values = [MetricValue(NO_METRIC, *value) for value in event.values]
        if event.scored is not None:
            values += self._measured(event.scored, template)
        self.history.inside.keep((value.name, value.value) for value in values)
        for logger in self.loggers:
            logger.log_metrics(values)
        for callback in callbacks(self.loggers, event.name):
            callback(template, values)
        return [(value.name, value.value, value.x_plot) for value in values]

    def _measured(self, scored: Pass, template: Any) -> list[MetricValue]:
        for stand_in, written in zip(self.memories, scored.memories, strict=False):
            stand_in.memory = written
        self.scores.before_eval_exp(template)
        self.scores.after_eval_iteration(template)
        values = self.scores.after_eval_exp(template) or []
        values += [MetricValue(NO_METRIC, *value) for value in scored.sizes]
        for labels in self.labels:
            values += labels.after_eval_exp(template) or []
        values += self._of_written(scored, template.position.task)
        return values + [MetricValue(NO_METRIC, *value) for value in scored.reports]

    def _of_written(self, scored: Pass, done: int) -> list[MetricValue]:
        values: list[MetricValue] = []
        if self.row_truth is None:
            return values
        for plugin, (rows, columns, labels) in scored.written.items():
            for name, value in written_quality(labels, self.row_truth[rows, columns]).items():
                values.append(MetricValue(NO_METRIC, f"written/{plugin}_{name}", value, done))
        return values

    @property
    def metrics(self) -> list[Any]:
        """Those that have a state, in the order of a checkpoint."""
        return [self.scores, *self.labels]

    def save(self, path: Path, growing: Sequence[Path]) -> tuple[str, dict[str, int]]:
        """Write the part of a checkpoint that holds what the desk knows.

        Args:
            path: of the state of what trains, which is another part.
            growing: files that the desk adds to, which are flushed to the disk.

        Returns:
            The SHA-256 of the part, and name -> length in bytes of each file.

        Raises:
            OSError: it cannot be written.
        """
        lengths = {file.name: GrowingFile(file).sync() for file in growing}
        return write_part(scores_of(path), self.state_dict()), lengths

    def state_dict(self) -> dict[str, Any]:
        return {"metrics": [metric.state_dict() for metric in self.metrics]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for metric, saved in zip(self.metrics, state["metrics"], strict=True):
            metric.load_state_dict(saved)

    def settle(self) -> None:
        """Do nothing: whoever asks for it knows that all before it is done."""

    def finish(self, files: RunFolder, facts: Facts) -> Object:
        """Write the plan and the result, by which the run is finished, and return the result's content."""
        labels = self.labels[0].summary() if self.labels else None
        return write_result(files, self.history, labels, facts)


class ScorerHere:
    """A `Desk` in the process that trains, for tests and for systems where forking is not safe; see `Scorer`.

    Args:
        desk: whose methods are called.
        each_time: called after each; None: nothing is.
    """

    def __init__(self, desk: Desk, each_time: Callable[[], None] | None = None) -> None:
        self.desk = desk
        self.wanted = desk.wanted
        self.each_time = each_time

    def tell(self, what: str, *content: Any) -> None:
        """Call a method of the desk."""
        self.ask(what, *content)

    def ask(self, what: str, *content: Any) -> Any:
        """Call a method of the desk and return what it returns."""
        answer = getattr(self.desk, what)(*content)
        if self.each_time is not None:
            self.each_time()
        return answer

    def later(self, what: str, *content: Any) -> Answer:
        """Call a method of the desk and return its answer, which is there."""
        return Answer(lambda wait: None, True, self.ask(what, *content))

    def close(self) -> None:
        """Do nothing."""


class _Seen:
    """What metrics and loggers see of the template, which is in another process."""

    def __init__(self, event: Event, desk: Desk) -> None:
        self.position = event.position
        self.train_epochs = desk.beginning.train_epochs
        self.score_every = desk.beginning.score_every
        self.images = event.images
        self.experience = SimpleNamespace(origin_stream=SimpleNamespace(name="evaluation"))
        self.evaluator = SimpleNamespace(metrics=[desk.scores, *desk.labels])
        self.model = None
        self.benchmark = SimpleNamespace(train_rows=self)
        self._sample = None if event.scored is None else event.scored.sample
        if event.scored is not None:
            self.rows = torch.from_numpy(event.scored.rows)
            self.mb_output = torch.from_numpy(event.scored.logits)

    @property
    def sample(self) -> TrainingSample:
        if isinstance(self._sample, ClsimError):
            raise self._sample
        assert self._sample is not None
        return self._sample

    def targets(self, rows: Any) -> torch.Tensor:
        """Return what the sampled rows show, as `RowStore.targets` does."""
        return torch.from_numpy(self.sample.targets)

    def scored(self, model: Any, store: Any, rows: Any, **kwargs: Any) -> NDArray[np.float32]:
        """Return the scores of the sampled rows, as the template's method does."""
        return self.sample.scores


def written_labels(memory: Any) -> WrittenLabels:
    """Return the content of a replay memory to hand in."""
    return WrittenLabels(memory.rows, memory.labels, memory.provenance, memory.stored_by)
