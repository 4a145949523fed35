"""Loggers outside the run folder: W&B, MLflow, and those that a user brings.

Each follows Avalanche's protocol of loggers. It may have two methods more:

    begin(run): called with a `LoggedRun` before training. What it returns, such as the id under which a server knows
        the run, is `run.id` when the run is resumed.
    end(result): called when the process ends, with the content of `result.json`, or None if the run is not finished.

None of them can end a run, and none is sent the same values twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from avalanche.evaluation.metric_results import MetricValue
from avalanche.logging import BaseLogger

from clsim.evaluation.sent_file import SentFile
from clsim.training.events import callbacks

log = logging.getLogger("clsim")


@dataclass(frozen=True)
class LoggedRun:
    """What a logger may know of a run.

    Attributes:
        name: strategy and seed, such as er/seed0.
        scenario: its name.
        folder: the run folder.
        settings: what tells runs apart, one level of dotted keys.
        sent: how many lines of `metrics.jsonl` an earlier process of the run has sent already.
        id: what `begin` returned in an earlier process of the run; None: nothing, or there was none.
    """

    name: str
    scenario: str
    folder: Path
    settings: Mapping[str, Any]
    sent: int = 0
    id: str | None = None


class Delivery(BaseLogger):
    """Passes on to a logger what it has not been sent yet, and outlives its errors.

    The first error is told, in the log and by `say`; the logger is still called at each later event.

    Args:
        name: of the logger, as the scenario gives it.
        logger: which is called.
        sent: where it is remembered what has been sent.
        lines: lines that `metrics.jsonl` holds when the process begins; the next one is number `lines` + 1.
        say: tells the user.
    """

    def __init__(
        self, name: str, logger: Any, sent: SentFile, lines: int, say: Callable[[str], None] | None = None
    ) -> None:
        super().__init__()
        self.name = name
        self.logger = logger
        self.sent = sent
        self.line = lines
        self.say = say
        self.failed = False
        self._new = False

    def begin(self, run: LoggedRun) -> None:
        """Let the logger begin, or go on with what it has of the run."""
        known = replace(run, sent=self.sent.get(self.name, "sent") or 0, id=self.sent.get(self.name, "id"))
        self.sent.set(self.name, failed=None)
        if hasattr(self.logger, "begin"):
            found = self._guarded(self.logger.begin, known)
            if isinstance(found, str):
                self.sent.set(self.name, id=found)

    def end(self, result: Mapping[str, Any] | None) -> None:
        """Let the logger end."""
        if hasattr(self.logger, "end"):
            self._guarded(self.logger.end, result)

    def log_metrics(self, metric_values: list[MetricValue]) -> None:
        if metric_values:
            self.line += 1
            self._new = self.line > (self.sent.get(self.name, "sent") or 0)
        if not metric_values or self._new:
            self._guarded(self.logger.log_metrics, metric_values)

    def after_training_epoch(self, strategy: Any, metric_values: list[MetricValue], **kwargs: Any) -> None:
        self._deliver("after_training_epoch", strategy, metric_values)

    def after_eval_exp(self, strategy: Any, metric_values: list[MetricValue], **kwargs: Any) -> None:
        self._deliver("after_eval_exp", strategy, metric_values)

    def _deliver(self, event: str, strategy: Any, metric_values: list[MetricValue]) -> None:
        """Pass on an event that brings values: those of a line."""
        if metric_values and not self._new:
            return
        for callback in callbacks([self.logger], event):
            self._guarded(callback, strategy, metric_values)
        if metric_values:
            self.sent.set(self.name, sent=self.line)

    def __getattr__(self, event: str) -> Any:
        """Pass on the other events that the logger listens to, and no more, because each call has a cost."""
        listening = callbacks([self.logger], event) if event.startswith(("before_", "after_")) else []
        if not listening:
            raise AttributeError(event)
        return lambda strategy, metric_values, **kwargs: self._guarded(listening[0], strategy, metric_values)

    def _guarded(self, call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except Exception as error:
            if not self.failed:
                text = f"logger {self.name} failed, the run goes on: {type(error).__name__}: {error}".replace("\n", " ")
                log.warning("%s", text, exc_info=error)
                self.sent.set(self.name, failed=text)
                if self.say is not None:
                    self.say(text)
            self.failed = True
            return None


@contextmanager
def observed(deliveries: Sequence[Delivery], run: LoggedRun) -> Iterator[None]:
    """Let all loggers begin, and let them end if the block is left by an error or an interruption."""
    for delivery in deliveries:
        delivery.begin(run)
    try:
        yield
    except BaseException:
        for delivery in deliveries:
            delivery.end(None)
        raise
