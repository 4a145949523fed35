"""Numbers of the files that grow with a run."""

from __future__ import annotations

import resource
import sys
from types import SimpleNamespace

import pytest

from clsim.evaluation.loggers import peak_memory


@pytest.mark.parametrize(("platform", "expected"), [("linux", 3_072_000), ("darwin", 3_000)])
def test_peak_memory_is_in_bytes_on_every_system(platform: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=3_000))
    assert peak_memory() == expected
