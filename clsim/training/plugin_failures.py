"""What a plugin raises, as an error that names the plugin, the event and the step."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from avalanche.training.utils import trigger_plugins

from clsim.errors import ClsimError, RunError
from clsim.training.state import OF_AVALANCHE
from clsim.training.template import MultiLabelTemplate


@contextmanager
def plugin_failures(template: MultiLabelTemplate) -> Iterator[None]:
    """Turn what a plugin raises inside this block into an error of one line, with the original as its cause.

    Errors of clsim's own plugins, metrics and loggers leave as they are: they are bugs of clsim.

    Raises:
        RunError: a plugin that is not clsim's has raised something else than a ClsimError or an OSError.
    """
    try:
        yield
    except (ClsimError, OSError):
        raise
    except Exception as error:
        failed = _failed(error)
        if failed is None:
            raise
        plugin, event = failed
        at = template.position
        what = " ".join(str(error).split())
        raise RunError(
            f"plugin {type(plugin).__name__} failed in {event} at task {at.task}, epoch {at.epoch}, step {at.step}: "
            f"{type(error).__name__}{': ' if what else ''}{what}"
        ) from error


def _failed(error: Exception) -> tuple[Any, str] | None:
    """Return the innermost plugin being called when `error` was raised, and the event; None if it is clsim's own."""
    failed = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code is trigger_plugins.__code__:
            failed = frame.f_locals["p"], frame.f_locals["event"]
        elif frame.f_code is MultiLabelTemplate._at_step.__code__:
            callback = frame.f_locals["callback"]
            failed = getattr(callback, "__self__", callback), frame.f_locals["event"]
    if failed is None or isinstance(failed[0], OF_AVALANCHE) or type(failed[0]).__module__.startswith("clsim."):
        return None
    return failed
