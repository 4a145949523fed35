"""A replay memory: its rows, which of them are kept, how they are replayed and relabelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clsim.lazy import lazy_names

_HOME = {
    "Budget": "clsim.training.memory.store",
    "GIVEN": "clsim.training.memory.store",
    "Memory": "clsim.training.memory.store",
    "UNKNOWN": "clsim.vocabulary",
    "ClassBalancedSelection": "clsim.training.memory.selection",
    "HerdingSelection": "clsim.training.memory.selection",
    "RandomSelection": "clsim.training.memory.selection",
    "ReservoirSelection": "clsim.training.memory.selection",
    "Selection": "clsim.training.memory.selection",
}
"""Names that were importable from here when this was one module."""

if not TYPE_CHECKING:  # so that mypy knows a name that is not there
    __getattr__ = lazy_names(__name__, _HOME)
