"""Ranking and calibration: tables, the pooled diagram, and runs that recorded neither."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from clsim.report.compared import compared
from clsim.report.page import render_html
from clsim.report.results import load_results
from clsim.report.sections.calibration import (
    prevalence_table,
    ranking_table,
    reliability_figure,
    reliability_points,
)
from clsim.report.text import render_latex, render_markdown

MakeRun = Callable[..., Path]
BINS = {"entries": [8, 0, 4], "present": [1, 0, 3], "predicted": [0.8, 0.0, 3.4]}


def recorded(**changes: Any) -> dict[str, Any]:
    """What a run records of ranking, calibration and the visible prevalence."""
    calibration = {"ECE": [1.0, 2.0, 3.25], "last_ECE": 3.25, "last_ECE_classes": 4.5, "bins": BINS} | changes
    prevalence = {"last_CF1": 41.0, "last_CF1_harmonic": 42.0, "last_OF1": 43.0, "last_FPR": 4.0, "last_FNR": 45.0}
    ranking = {"AUC": [90.0, 85.0, 80.5], "last_AUC": 80.5, "last_LRAP": 70.25}
    return {"calibration": calibration, "ranking": ranking, "at_prevalence": prevalence | {"last_Hamming": 6.0}}


def test_tables_show_the_last_values_and_older_runs_beside_them(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(tmp_path, "er", seed=0, **recorded())
    make_run(tmp_path, "er", seed=1, **recorded(last_ECE=4.25))
    make_run(tmp_path, "lwf")
    results = load_results(tmp_path)
    heading, *rows = ranking_table(results)
    assert [name.replace("\u00a0", " ") for name in heading[1:]] == [
        "Macro AUC ↑",
        "LRAP ↑",
        "ECE ↓",
        "ECE of classes ↓",
    ]
    assert rows == [("er", "80.50 ± 0.00", "70.25 ± 0.00", "3.75 ± 0.71", "4.50 ± 0.00"), ("lwf", *["–"] * 4)]  # noqa: RUF001
    assert prevalence_table(results)[1][:4] == ("er", "41.0 ± 0.0", "42.0 ± 0.0", "43.0 ± 0.0")
    assert results.frame["CF1@prevalence"].tolist()[:2] == [41, 41]


def test_the_diagram_pools_the_entries_of_all_seeds(make_run: MakeRun, tmp_path: Path) -> None:
    other = {"entries": [2, 0, 6], "present": [0, 0, 5], "predicted": [0.2, 0.0, 5.0]}
    make_run(tmp_path, "er", seed=0, **recorded())
    make_run(tmp_path, "er", seed=1, **recorded(bins=other))
    make_run(tmp_path, "lwf", seed=0, **recorded())
    make_run(tmp_path, "lwf", seed=1)
    results = load_results(tmp_path)
    np.testing.assert_allclose(reliability_points(results, "er"), [[1.0 / 10, 8.4 / 10], [1 / 10, 8 / 10]])
    assert reliability_points(results, "lwf").shape == (2, 0)
    assert "er: 0.10, 0.80" in (reliability_figure(results) or "")


def test_page_and_tables_show_them_only_where_a_run_recorded_them(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(tmp_path / "new", "er", **recorded())
    make_run(tmp_path / "old", "er")
    new, old = (compared(load_results(tmp_path / name)) for name in ("new", "old"))
    for part in ('id="table-ranking"', 'id="table-prevalence"', 'id="figure-reliability"', "<dt>ECE</dt>"):
        assert part in render_html(new)
        assert part not in render_html(old)
    for text in (render_markdown, render_latex):
        assert "Ranking and calibration" in text(new)
        assert "Ranking and calibration" not in text(old)
    assert "CF1@prevalence" not in old.results.frame
