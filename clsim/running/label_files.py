"""Notes in a run's log which files with labels, or plans, the process that trains has opened itself.

Nothing is refused: this guards against mistakes, and shows a reader of the log what a method has looked at.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from clsim.data.cache import cache_folder
from clsim.data.folder import SUFFIXES
from clsim.data.path_options import DATA_PATH, path_options
from clsim.running.run_folder import RunFolder
from clsim.scenario.schema import ScenarioConfig
from clsim.sealing import asking_line

MOST = 20
"""Files that are named; more are not."""

log = logging.getLogger("clsim")


class _Watch:
    """Files to note, and those that have been.

    Args:
        places: files and folders with labels.
    """

    def __init__(self, places: Sequence[str]) -> None:
        self.places = tuple(places)
        self.noted: set[str] = set()

    def see(self, path: str) -> None:
        """Note a file that is opened, unless it is an image or none of ours."""
        name = os.path.basename(path)
        if name != RunFolder.plan and (not path.startswith(self.places) or name.lower().endswith(SUFFIXES)):
            return
        if path not in self.noted and len(self.noted) < MOST:
            self.noted.add(path)
            log.warning("%sopened %s, which holds labels or a plan, while the run trained", asking_line(), path)


_watch: ContextVar[_Watch | None] = ContextVar("label files", default=None)
_hooked = False


@contextmanager
def label_files_noted(config: ScenarioConfig) -> Iterator[None]:
    """Note in the log each file with labels that this thread opens while the block runs.

    Args:
        config: says where labels are.
    """
    global _hooked
    if not _hooked:  # for the life of the process: Python has no way to remove one
        sys.addaudithook(_audit)
        _hooked = True
    token = _watch.set(_Watch(_places(config)))
    try:
        yield
    finally:
        _watch.reset(token)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" or (watch := _watch.get()) is None:
        return
    path = arguments[0]
    if isinstance(path, bytes | os.PathLike):
        path = os.fsdecode(path)
    if isinstance(path, str):
        watch.see(path if path[:1] == "/" else os.path.abspath(path))


def _places(config: ScenarioConfig) -> list[str]:
    """Return where labels are: files and folders of the data set, the cache of parsed labels, confidences, lists.

    DECIDED: lists of images count too, as the plan does: that an image comes in another task, or was chosen for a long
    tail, tells of classes that its row hides.
    """
    found = [f"{cache_folder() / 'labels'}{os.sep}"]
    for keys in (keys for keys, mark in path_options(ScenarioConfig).items() if mark is DATA_PATH):
        value: Any = config
        for key in keys:
            value = getattr(value, key, None)
        for path in value if isinstance(value, list) else [value]:
            if isinstance(path, str):
                found.append(f"{path.rstrip(os.sep)}{os.sep}" if os.path.isdir(path) else path)
    options = getattr(config.dataset, "options", None)
    for value in options.values() if isinstance(options, dict) else ():
        if isinstance(value, str) and os.path.isfile(value):
            found.append(value)
    return found
