"""What model rebalancing did, from the lines that a run leaves in metrics.jsonl."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import clsim
from clsim.errors import RunError
from clsim.report.results import load_results
from clsim.report.writing import write_report
from clsim.strategies.report_sections.more import alarms, more_table, rebalancings
from clsim.strategies.report_sections.more_figures import class_figures, course_figures, layer_figures

MakeRun = Callable[..., Path]


@pytest.fixture
def rebalanced(rebalanced_runs: Callable[[Path], Path], tmp_path: Path) -> Path:
    return rebalanced_runs(tmp_path)


def test_the_course_is_read_by_seed_task_layer_and_class(rebalanced: Path) -> None:
    found = rebalancings(load_results(rebalanced))
    assert list(found) == ["er+more"]
    own = found["er+more"]
    assert (own.seeds, own.layers, own.options["amplitude"]) == ([0, 1], ["backbone.conv1", "head"], 0.5)
    np.testing.assert_array_equal(own.low_rank, [[0.2, 0.1, 0.005], [0.4, 0.3, 0.2]])  # a task run again: its last line
    np.testing.assert_array_equal(own.by_layer[0, 1], [0.1, 0.2])
    np.testing.assert_array_equal(own.weight[0], [[1, np.nan, np.nan], [2, 1, np.nan], [3, 2, 1]])
    np.testing.assert_array_equal(own.collapsed, [[False, False, True], [False, False, False]])


def test_the_table_is_over_seeds_after_the_last_task(rebalanced: Path) -> None:
    _, row = more_table(rebalancings(load_results(rebalanced)))
    sizes = ("10.25 ± 13.79", "10.25 ± 13.79")  # 0.5 and 20 percent, which are the least as well
    assert row == ("er+more", "2", "0.5", "0.1", *sizes, "-0.50 ± 0.00", "3.00 ± 0.00", "1 of 6 tasks")


def test_a_collapse_raises_the_alarm_in_page_and_section(rebalanced: Path) -> None:
    (text,) = alarms(rebalancings(load_results(rebalanced)))
    assert "er+more: the low-rank parts of MORE have collapsed (seed 0 after task 2)" in text
    source = write_report(rebalanced).read_text(encoding="utf-8")
    for mark in ('id="more-alarm"', 'href="#more-alarm"', 'id="warnings"', "(seed 0 after task 2)"):
        assert mark in source


def test_figures_tell_their_numbers(rebalanced: Path) -> None:
    results = load_results(rebalanced)
    found = rebalancings(results)
    figures = dict(course_figures(results, found))
    assert "<title>er+more: 30.00, 20.00, 10.25</title>" in figures["Size of the low-rank parts"]
    assert "<title>er+more: -0.50, -0.50, -0.50</title>" in figures["Rank correlation"]
    assert "<title>er+more: 0.5 in the middle of each task</title>" in figures["Schedule"]
    ((_, layers),) = layer_figures(results, found)
    assert re.findall(r">(conv1|head)</text>", layers) == ["conv1", "head"]
    assert ">30</text>" in layers  # percent, the mean of both seeds
    ((_, classes),) = class_figures(results, found)
    assert "<title>&lt;b&gt;&amp;x (head): weight 3, discrepancy 0.25</title>" in classes
    assert "<title>dog (tail): weight 1, discrepancy 0.5</title>" in classes


def test_runs_without_it_have_no_section(runs: Path) -> None:
    assert rebalancings(load_results(runs)) == {}
    source = write_report(runs).read_text(encoding="utf-8")
    assert "Model rebalancing" not in source
    assert "#more" not in source


def test_a_damaged_line_is_named(rebalanced: Path) -> None:
    path = rebalanced / "er+more" / "seed1" / "metrics.jsonl"
    path.write_text(path.read_text() + '{"task": 2, "values": {"more/low_rank": \n')
    with pytest.raises(RunError, match=rf"{re.escape(str(path))}, line 4: not readable as JSON"):
        write_report(rebalanced)


@pytest.mark.slow
def test_a_real_run_is_read(tiny_overrides: dict[str, object], tmp_path: Path) -> None:
    run = clsim.run("digits-b0c2", "er+more", overrides=tiny_overrides, out=tmp_path)
    results = load_results(run.folder.parents[1])
    own = rebalancings(results)["er+more"]
    last = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()][-1]["values"]
    assert own.low_rank[0, -1] == last["more/low_rank"]
    assert len(own.layers) == own.by_layer.shape[2] > 5
    assert (own.by_layer > 0).all()
    assert own.weight.shape == (1, 3, 10)
    np.testing.assert_array_equal(np.isnan(own.weight[0]).sum(axis=1), [6, 2, 0])
    assert 0 < own.options["rank"] <= 1
    assert write_report(run.folder.parents[1]).is_file()
