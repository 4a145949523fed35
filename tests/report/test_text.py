"""The comparison as files for other programs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from clsim.errors import RunError
from clsim.report.compared import compared
from clsim.report.results import Results, load_results
from clsim.report.text import ORDERS, render_latex, render_markdown
from clsim.report.writing import write_report

MakeRun = Callable[..., Path]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_is_input_by_a_paper(labelled: Path, make_run: MakeRun, tmp_path_factory: pytest.TempPathFactory) -> None:
    for seed in range(2):
        make_run(labelled, "a_b&c#d%e$f{g}^~\\", seed=seed, last_mAP=70.0 + seed)
    make_run(labelled, "joint", plan_sha256="b" * 64, derived_from="a" * 64)
    write_report(labelled)
    paper = tmp_path_factory.mktemp("paper")
    shutil.copy(labelled / "results.tex", paper)
    packages = r"\usepackage{booktabs}\usepackage{graphicx}"
    document = rf"\documentclass{{article}}{packages}\begin{{document}}\input{{results}}\end{{document}}"
    (paper / "paper.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=paper, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert (paper / "paper.pdf").stat().st_size > 10_000


def test_markdown_and_latex_hold_every_table(runs: Path) -> None:
    both = compared(load_results(runs), "er")
    text, tex = render_markdown(both), render_latex(both)
    for title in ("Last mAP against er", "Distance to joint", "Cost", "Expected values"):
        assert f"## {title}\n" in text
        assert rf"\caption{{toy, {title}." in tex
    assert tex.count(r"\begin{table}") == tex.count(r"\bottomrule") == text.count("| --- |")
    assert "| er | last mAP | 47.2 | ± 1.5 | 62.0 ± 2.8 | published | KRT &lt;paper&gt; |" in text
    assert r"KRT \textless{}paper\textgreater{} \\" in tex
    assert "Not in the tables, because they have no result:" in text
    assert "`joint`: upper reference, trains on all data so far." in text
    assert "joint: upper reference, trains on all data so far." in tex


def test_statistics_are_a_row_for_each_metric_and_strategy(runs: Path) -> None:
    write_report(runs, baseline="joint")
    rows = pd.read_csv(runs / "statistics.csv").set_index(["metric", "strategy"])
    er = rows.loc[("last_mAP", "er")]
    assert (er["baseline"], er["seeds"], er["mean"], er["pairs"], er["difference"]) == ("joint", 2, 62, 1, 0)
    assert er[["difference_half", "low", "high", "p", "verdict"]].isna().all()  # one pair
    assert rows.loc[("forgetting", "joint"), "seeds"] == 1


def test_several_class_orders_are_warned_of(make_run: MakeRun, tmp_path: Path) -> None:
    for order in (0, 1):
        for name in ("er", "finetune"):
            make_run(tmp_path / f"order{order}", name, order_seed=order)
    parts = [load_results(tmp_path / f"order{order}") for order in (0, 1)]
    assert ORDERS.strip() not in render_markdown(compared(parts[0], "finetune"))
    both = compared(Results(tmp_path, (*parts[0].runs, *parts[1].runs), ()), "finetune")
    assert ORDERS.strip() in render_markdown(both)
    assert "| er | 2 | 60.0 ± 0.0 | [60.0, 60.0] | 2 | 0.0 |" in render_markdown(both)


def test_a_folder_of_class_orders_has_a_page_for_each_and_tables_over_all(make_run: MakeRun, tmp_path: Path) -> None:
    """By number, not by name; the baseline has no run in order 2, so that its page has another."""
    for order in (10, 2):
        make_run(tmp_path / f"order{order}", "er", order_seed=order, plan_sha256=str(order) * 32)
    make_run(tmp_path / "order10", "lwf", order_seed=10, plan_sha256="10" * 32)
    page = write_report(tmp_path, baseline="lwf")
    assert page == tmp_path / "report.html"
    assert "Differences to lwf" in (tmp_path / "order10" / "report.html").read_text(encoding="utf-8")
    assert "Differences to er" in (tmp_path / "order2" / "report.html").read_text(encoding="utf-8")
    text = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "Last mAP against lwf" in text
    assert "| er | 2 | 60.0 ± 0.0 | [60.0, 60.0] | 1 | 0.0 |" in text
    with pytest.raises(RunError, match="baseline: given 'ewc', allowed: er, lwf"):
        write_report(tmp_path, baseline="ewc")
