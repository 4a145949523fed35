"""Which plugins do something at an event.

Avalanche calls every callback of every plugin, most of which are empty, and copies the experience for each one of the
evaluator's. In a step that costs more than a small network; here empty callbacks are found once a task and left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from avalanche.core import BasePlugin, BaseSGDPlugin, SupervisedPlugin
from avalanche.evaluation.metric_definitions import PluginMetric
from avalanche.logging import BaseLogger
from avalanche.training.plugins import EvaluationPlugin

from clsim.training.plugin import Plugin

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


def callbacks(plugins: Sequence[Any], event: str) -> list[Callable[..., Any]]:
    """Return the bound methods of the plugins that do something at an event, in order."""
    return [getattr(plugin, event) for plugin in plugins if provides(plugin, event)]


_SILENT = (BasePlugin, BaseSGDPlugin, SupervisedPlugin, PluginMetric, BaseLogger, Plugin)
"""Base classes whose methods do nothing, of Avalanche and of clsim."""


def provides(plugin: Any, method: str) -> bool:
    """Return whether a plugin, metric or logger has a method of its own, not the empty one of a base class.

    An `EvaluationPlugin` provides what one of its metrics or loggers does.
    """
    if isinstance(plugin, EvaluationPlugin):
        return any(provides(part, method) for part in [*plugin.metrics, *plugin.loggers])
    for kind in type(plugin).__mro__:
        if method in vars(kind):
            return kind not in _SILENT
    return hasattr(plugin, method)
