"""Avalanche without two packages that it imports and hardly uses: wandb, and qpsolvers, which imports jax.

They take a fifth of the time and memory of all imports, for one picture and one method (GEM). While Avalanche is
imported it is given modules in their place, which import the package when something of it is used. Nobody else sees
them: `import wandb` elsewhere is wandb.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

HARDLY_USED = ("qpsolvers", "wandb")


class _Unused(ModuleType):
    """Stands in the place of a module until an attribute of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name not in ("__path__", "__version__"):
            raise AttributeError(name)  # the import system and inspection look for some, which is no use
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


class _WithoutHardlyUsed(Loader):
    """Executes a module as its own loader does, with stand-ins for HARDLY_USED meanwhile.

    Args:
        own: the module's loader.
    """

    def __init__(self, own: Loader) -> None:
        self._own = own

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Let the module's loader create it."""
        return self._own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module; it knows nothing of this loader then."""
        module.__loader__ = self._own
        if module.__spec__ is not None:
            module.__spec__.loader = self._own
        stand_ins = {}
        for name in HARDLY_USED:
            if name not in sys.modules and (spec := find_spec(name)) is not None:
                stand_ins[name] = sys.modules[name] = _Unused(name)
                stand_ins[name].__spec__ = spec
        try:
            self._own.exec_module(module)
        finally:
            for name, stand_in in stand_ins.items():
                if sys.modules.get(name) is stand_in:
                    del sys.modules[name]


class _AvalancheFinder(MetaPathFinder):
    """Finds Avalanche where the other finders do."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of Avalanche with a loader that leaves out HARDLY_USED; None: of another module."""
        if fullname == "avalanche":
            others = (finder for finder in sys.meta_path if finder is not self)
            found = (finder.find_spec(fullname, path, target) for finder in others)
            spec = next(filter(None, found), None)
            if spec is not None and spec.loader is not None:
                spec.loader = _WithoutHardlyUsed(spec.loader)
            return spec
        return None


def leave_out_hardly_used() -> None:
    """Let this process import Avalanche without them, if it has not imported it yet."""
    if "avalanche" not in sys.modules:
        sys.meta_path.insert(0, _AvalancheFinder())
