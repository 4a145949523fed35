"""Names of a package that are imported when they are first used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from clsim.errors import did_you_mean


def lazy_names(package: str, home: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package whose names live in other modules.

    Args:
        package: the package's `__name__`.
        home: name -> module that defines it.
    """

    def find(name: str) -> Any:
        if name not in home:
            hint = "" if name.startswith("_") else did_you_mean(name, home)
            raise AttributeError(f"module {package!r} has no attribute {name!r}{hint}")
        return getattr(import_module(home[name]), name)

    return find
