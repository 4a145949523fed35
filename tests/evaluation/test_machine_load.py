"""How busy others keep the machine, from what the system counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from clsim.evaluation import machine_load
from clsim.evaluation.machine_load import LoadMeter


def test_the_share_of_others_is_what_is_busy_less_what_this_process_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statistics = tmp_path / "stat"
    monkeypatch.setattr(machine_load, "STATISTICS", statistics)
    monkeypatch.setattr(machine_load.os, "sysconf", lambda _: 100)
    own = iter([5.0, 7.0, 8.0])
    monkeypatch.setattr(machine_load.time, "process_time", lambda: next(own))
    statistics.write_text("cpu  0 0 0 1000 0 0 0 0 0 0\ncpu0 0\n")
    meter = LoadMeter()
    statistics.write_text("cpu  400 100 100 1300 100 0 0 0 0 0\ncpu0 0\n")  # 6 s busy of 10 s, 2 s by this process
    assert meter.share_of_others() == pytest.approx(0.4)
    statistics.write_text("cpu  0 0 0 1000 0 0 0 0 0 0\n")
    assert meter.share_of_others() is None  # no time has passed


@pytest.mark.parametrize("text", [None, "", "cpu a b c d"])
def test_a_system_that_does_not_tell_gives_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    monkeypatch.setattr(machine_load, "STATISTICS", tmp_path / "stat")
    if text is not None:
        (tmp_path / "stat").write_text(text)
    assert LoadMeter().share_of_others() is None
