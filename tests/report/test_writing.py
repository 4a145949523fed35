"""A report is written in stages: nothing is computed twice, and nothing is written before all of it is rendered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from clsim.report import compared, significance, writing
from clsim.report.results import load_results
from clsim.report.run_result import RunResult
from clsim.report.writing import write_report

MakeRun = Callable[..., Path]
FILES = {"report.html", "results.csv", "statistics.csv", "classes.csv", "results.md", "results.tex"}


def test_rows_and_differences_are_computed_once(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[str] = Counter()
    row, against = RunResult.row, significance.against

    def counted_row(run: RunResult) -> dict[str, object]:
        calls[run.name] += 1
        return row(run)

    def counted_against(*args: object) -> object:
        calls["against"] += 1
        return against(*args)

    monkeypatch.setattr(RunResult, "row", counted_row)
    monkeypatch.setattr(compared, "against", counted_against)
    write_report(runs)
    assert calls == {"er/seed0": 1, "er/seed1": 1, "joint/seed0": 1, "against": 1}


def test_a_frame_may_be_changed_without_changing_the_next_one(runs: Path) -> None:
    results = load_results(runs)
    frame = results.frame
    frame["last_mAP"] = 0.0
    assert results.frame["last_mAP"].tolist() == [60, 64, 60]


def test_what_cannot_be_rendered_leaves_no_file(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> str:
        raise ValueError("no page")

    monkeypatch.setattr(writing, "render_html", broken)
    with pytest.raises(ValueError, match="no page"):
        write_report(runs)
    assert not {path.name for path in runs.iterdir()} & FILES


def test_one_class_order_alone_is_reported_in_its_folder(make_run: MakeRun, tmp_path: Path) -> None:
    order = tmp_path / "order3"
    make_run(order, "er", order_seed=3)
    assert write_report(order) == order / "report.html"
    assert {path.name for path in order.iterdir()} == {*FILES, "er"}
    assert write_report(order, tmp_path / "elsewhere") == tmp_path / "elsewhere" / "report.html"


def test_a_strategy_is_a_reference_because_it_says_so_not_by_its_name(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(tmp_path, "all-data", format=2, reference="upper", last_mAP=80.0)
    make_run(tmp_path, "joint", format=2)
    make_run(tmp_path, "zap", format=2, reference="lower")
    results = load_results(tmp_path)
    assert (results.upper, results.lower, results.methods) == ("all-data", "zap", ["joint", "zap"])
    assert results.strategies[-1] == "all-data"
    write_report(tmp_path)
    text = (tmp_path / "results.md").read_text()
    assert "## Last mAP against zap" in text
    assert "## Distance to all-data" in text
    assert "`all-data`: upper reference" in text
