"""Numbers of the files that grow with a run."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from clsim.evaluation.loggers import TimingFile, peak_memory


@pytest.mark.parametrize(("platform", "expected"), [("linux", 3_072_000), ("darwin", 3_000)])
def test_peak_memory_is_in_bytes_on_every_system(platform: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=3_000))
    assert peak_memory() == expected


def test_both_clocks_go_on_from_a_state(tmp_path: Path) -> None:
    timing = TimingFile(tmp_path / "timing.jsonl")
    timing.load_state_dict({"seconds": 3_000.0, "cpu_seconds": 2_000.0, "samples": 0})
    spent = timing.spent()
    assert 3_000 < spent["seconds"] < 3_100
    assert 2_000 < spent["cpu_seconds"] < 2_100
