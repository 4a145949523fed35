"""Which plugins a template has, and which of them listen to which event of a training step.

Avalanche calls every callback of every plugin, most of which are empty, and copies the experience for each one of the
evaluator's. In a step that costs more than a small network; here empty callbacks are found once a task and left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from avalanche.core import BasePlugin, BaseSGDPlugin, SupervisedPlugin
from avalanche.evaluation.metric_definitions import PluginMetric
from avalanche.logging import BaseLogger
from avalanche.training.plugins import EvaluationPlugin

Kind = TypeVar("Kind")

STEP_EVENTS = (
    "before_training_iteration",
    "before_forward",
    "after_forward",
    "before_backward",
    "after_backward",
    "before_update",
    "after_update",
    "after_training_iteration",
)


def find_plugin(strategy: Any, kind: type[Kind]) -> Kind | None:
    """The first plugin of a kind that a template runs, or None."""
    return next((plugin for plugin in strategy.plugins if isinstance(plugin, kind)), None)


def callbacks(plugins: Sequence[Any], event: str) -> list[Callable[..., Any]]:
    """Bound methods of the plugins that do something at an event, in order."""
    return [getattr(plugin, event) for plugin in plugins if _listens(plugin, event)]


_SILENT = (BasePlugin, BaseSGDPlugin, SupervisedPlugin, PluginMetric, BaseLogger)
"""Avalanche's base classes, whose callbacks do nothing."""


def _listens(plugin: Any, event: str) -> bool:
    if isinstance(plugin, EvaluationPlugin):
        return any(_listens(part, event) for part in [*plugin.metrics, *plugin.loggers])
    for kind in type(plugin).__mro__:
        if event in vars(kind):
            return kind not in _SILENT
    return hasattr(plugin, event)
