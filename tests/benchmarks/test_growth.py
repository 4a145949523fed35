"""The benchmark of growth, at sizes of seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as page
from benchmarks import growth, scale, stream_length


def test_every_table_is_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    def finished(out: Path, strategies: int, parts: Any) -> dict[str, dict[str, float]]:
        return {part: {"whole": 1.5, "peak": 2**20} for part in parts}  # real ones: test_stub_runs

    monkeypatch.setattr(growth, "ROWS", (3000,))
    monkeypatch.setattr(growth, "WIDE", (500, 40))
    monkeypatch.setattr(growth, "STREAMS", {"blurry": growth.STREAMS["blurry"]})
    monkeypatch.setattr(growth, "HERDED", (50,))
    monkeypatch.setattr(growth, "OFFERED", (50,))
    monkeypatch.setattr(growth, "SELECTION_HEADINGS", growth.SELECTION_HEADINGS[:3])
    monkeypatch.setattr(growth, "SELECTIONS", ("rainbow", "gss"))  # those that ask a network
    monkeypatch.setattr(growth, "TASKS", (3,))
    monkeypatch.setattr(scale, "measure", finished)
    monkeypatch.setattr(stream_length, "measure", lambda lengths: [stream_length.run(tasks) for tasks in lengths])
    tables = [part for part in page.grown().split("\n\n") if part.startswith("|")]
    headings, rows = zip(*((table.split("\n")[0], table.split("\n")[2:]) for table in tables), strict=True)
    assert [heading.count("|") for heading in headings] == [row.count("|") for (row, *_) in rows]
    assert [len(part) for part in rows] == [1, 2, len(growth.RUNS), 1, 2, 1]
    cold, cold_peak, warm, warm_peak = map(float, rows[0][0].split("|")[2:6])
    assert 0 < warm < cold
    assert 0 < max(cold_peak, warm_peak) < 300  # a plan loads no torch


def test_long_streams_are_measured_with_the_loggers_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    from clsim.evaluation.tensorboard import TensorBoardCurves

    steps: list[int] = []
    monkeypatch.setattr(TensorBoardCurves, "after_eval_exp", lambda self, *a, **k: steps.append(1))
    row = dict(zip(stream_length.HEADINGS, stream_length.run(2), strict=True))
    assert (row["tasks"], len(steps)) == ("2", 2)
    assert float(row["peak MB, late"]) >= float(row["peak MB, early"]) > 0
