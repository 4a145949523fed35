"""A full disk, for tests of what a run writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def full_for(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], AbstractContextManager[None]]:
    """Inside `full_for(name)` what is written to a file of this name meets a disk that is really full: /dev/full."""
    really = Path.open

    @contextmanager
    def full(name: str) -> Iterator[None]:
        def opened(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            meant = name in (path.name, path.name.removeprefix(".").rpartition(".part")[0].rpartition(".")[0])
            writes = any(letter in mode for letter in "wax+")
            return really(Path("/dev/full") if meant and writes else path, mode.replace("x", "w"), *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", opened)
            yield

    return full
