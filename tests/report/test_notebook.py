"""What a notebook shows of results: their numbers, escaped, and what failed."""

from __future__ import annotations

from pathlib import Path

from clsim.launch.comparison import Comparison
from clsim.report.results import load_results


def test_a_comparison_shows_its_table_curves_and_failures(runs: Path) -> None:
    failed = {runs / "lwf" / "seed3": "StrategyError: weight <0"}
    shown = Comparison(runs, ("er", "joint"), failed=failed, interrupted=(runs / "x" / "seed0",))._repr_html_()
    assert "Last mAP" in shown
    assert ">62.0 ± 2.8</td>" in shown
    assert "<svg" in shown
    assert "failed: StrategyError: weight &lt;0" in shown
    assert ">interrupted</td>" in shown


def test_a_comparison_without_a_result_says_so(tmp_path: Path) -> None:
    assert "no run has finished" in Comparison(tmp_path / "a<b", ("er",))._repr_html_()
    assert "a&lt;b" in Comparison(tmp_path / "a<b", ("er",))._repr_html_()


def test_a_run_shows_its_final_numbers_and_tasks(runs: Path) -> None:
    results = load_results(runs)
    shown = results.of("er")[0]._repr_html_()
    assert "toy: er/seed0" in shown
    assert "last mAP 60.0, average mAP 65.0, forgetting 30.0" in shown
    assert shown.count("<tr>") == 4
    assert "average mAP \u2013" in results.of("joint")[0]._repr_html_()  # which has none
