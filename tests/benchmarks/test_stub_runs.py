"""Stubs of finished runs: a comparison takes them for its own, and their numbers fit each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import scale, stub_runs
from clsim.report.results import load_results


def test_a_comparison_reuses_them_and_their_numbers_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stub_runs, "STRATEGIES", ("finetune",))
    home = stub_runs.make(tmp_path, strategies=2, seeds=2).folder
    assert len(stub_runs.compare(tmp_path, 2, 2).reused) == 4
    runs = load_results(home).runs
    assert sorted({run.strategy for run in runs}) == ["finetune-00", "finetune-01"]
    assert len({run.record.last_mAP for run in runs}) == 4
    for run in runs:
        assert run.record.avg_mAP == pytest.approx(np.mean(run.record.mAP))
        assert run.record.R[-1][0] == pytest.approx(np.mean(run.record.AP[-1][:2]))
    files, size = scale.folder_size(runs[0].folder)
    assert files > 15
    assert size > 100_000
