"""Model rebalancing (MORE): the plugin, its terms, and what a report must know of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clsim.lazy import lazy_names

_HOME = {
    "ModelRebalancing": "clsim.training.more.plugin",
}
"""Names that were importable from here when this was one module."""

if not TYPE_CHECKING:  # so that mypy knows a name that is not there
    __getattr__ = lazy_names(__name__, _HOME)
