"""The formats that can be imported, by name: every module of `clsim.data.importers.formats`."""

from __future__ import annotations

import pkgutil
from functools import lru_cache
from importlib import import_module
from pathlib import Path

from clsim.data.importers import formats
from clsim.data.importers.contract import Format
from clsim.errors import ClsimError, did_you_mean


@lru_cache(maxsize=1)
def all_formats() -> dict[str, Format]:
    """Return the formats by name, alphabetical."""
    names = sorted(module.name for module in pkgutil.iter_modules(formats.__path__))
    found = [import_module(f"{formats.__name__}.{name}").FORMAT for name in names]
    return {one.name: one for one in sorted(found, key=lambda one: one.name)}


def format_called(name: str) -> Format:
    """Return a format.

    Raises:
        ClsimError: there is none of that name; with the nearest one.
    """
    known = all_formats()
    if name not in known:
        hint = did_you_mean(name, known)
        raise ClsimError(f"FORMAT: given {name!r}, allowed: {', '.join(known)}{hint}")
    return known[name]


def recognised_format(folder: Path) -> Format | None:
    """Return the format of the export in a folder; None: none of them."""
    for one in all_formats().values():
        try:
            if one.recognise(folder):
                return one
        except OSError:
            continue
    return None
