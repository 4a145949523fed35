"""Tables as text, Markdown and LaTeX."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from clsim.report.results import load_results
from clsim.report.significance import Contrast, against
from clsim.report.tables import (
    Best,
    Leader,
    accuracy_table,
    as_markdown,
    cost_table,
    difference_headings,
    difference_tables,
    escaped,
    final_table,
    interval,
    latex,
    markdown,
    probability,
    signed,
)

MakeRun = Callable[..., Path]


def test_markdown_rounds_and_marks_missing_values(runs: Path) -> None:
    heading, rule, er, joint = markdown(final_table(load_results(runs))).splitlines()
    assert heading.startswith("| Strategy | Seeds | Last mAP")
    assert rule.count("---:") == rule.count("|") - 2
    assert er == (
        "| er | 2 | 62.0 ± 2.8 | 65.0 ± 0.0 | 30.0 ± 0.0 | -20.0 ± 0.0 | 50.0 ± 0.0 | 40.0 ± 0.0 | 90.0 ± 0.0 "
        "| 40 | 2.50 | 7.5 ± 0.0 s |"
    )
    assert joint == "| joint | 1 | 60.0 | – | 30.0 | -20.0 | 50.0 | 40.0 | 90.0 | – | – | 7.5 s |"  # noqa: RUF001


def test_markdown_escapes_the_column_mark(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(tmp_path, "a|b")
    assert "| a\\|b | 1 |" in markdown(final_table(load_results(tmp_path)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("![x](http://x/y.png)", r"![x\](http://x/y.png)"),
        ("a\n\n# b\u2028c", "a # b c"),
        ("`*a*` _b_ last_mAP [1, 2]", r"\`\*a\*\` \_b\_ last_mAP [1, 2]"),
    ],
)
def test_markdown_shows_what_would_be_tags_links_and_lines(text: str, expected: str) -> None:
    assert as_markdown(text) == expected


def test_rows_are_rectangular_text(runs: Path) -> None:
    results = load_results(runs)
    for rows in (final_table(results), cost_table(results)):
        assert [row[0] for row in rows] == ["Strategy", "er", "joint"]
        assert len({len(row) for row in rows}) == 1
        assert all(isinstance(cell, str) for row in rows for cell in row)


def test_only_a_significant_winner_is_bold(make_run: MakeRun, tmp_path: Path) -> None:
    """er is above finetune by 20 with every seed, but in avg mAP once below; joint, above both, is no rival."""
    for seed, (last, average) in enumerate([(60.0, 50.0), (61.0, 90.0), (63.0, 30.0)]):
        make_run(tmp_path, "er", seed=seed, last_mAP=last, avg_mAP=average)
        make_run(tmp_path, "finetune", seed=seed, last_mAP=last - 20 + seed / 10, avg_mAP=45.0)
        make_run(tmp_path, "joint", seed=seed, last_mAP=last + 20 + seed / 10, avg_mAP=95.0)
    rows = final_table(load_results(tmp_path))
    bold = [(row[0], rows[0][column]) for row in rows for column, cell in enumerate(row) if isinstance(cell, Best)]
    assert bold == [("er", "Last mAP\u00a0↑")]
    assert "| er | 3 | **61.3 ± 1.5** |" in markdown(rows)
    assert r"{}er & 3 & \textbf{61.3 $\pm$ 1.5} &" in latex(rows, "", "t")


def test_one_seed_makes_nobody_a_winner(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(tmp_path, "er", last_mAP=90.0)
    make_run(tmp_path, "finetune", last_mAP=10.0)
    results = load_results(tmp_path)
    assert "**" not in markdown(final_table(results))
    ((_, rows), *_) = difference_tables(against(results, "finetune"), "finetune")
    assert rows[0] == ("er", "1", "90.0", "–", "1", "+80.0", *["–"] * 4)  # noqa: RUF001


def test_a_difference_has_its_intervals_and_its_verdict(make_run: MakeRun, tmp_path: Path) -> None:
    """Forgetting 10, 11, 12 below the baseline's: t(0.975, 2) / sqrt(3) = 2.484; lower is better."""
    for seed, gap in enumerate([10.0, 11.0, 12.0]):
        make_run(tmp_path, "er", seed=seed, forgetting=30.0 - gap)
        make_run(tmp_path, "finetune", seed=seed, forgetting=30.0)
    tables = dict(difference_tables(against(load_results(tmp_path), "finetune"), "finetune"))
    er, finetune = tables["Forgetting"]
    assert len(er) == len(finetune) == len(difference_headings("finetune"))
    assert er[:7] == ("er", "3", "19.0 ± 1.0", "[16.5, 21.5]", "3", "-11.0", "[-13.5, -8.5]")
    assert er[8:] == ("0.003", "better")
    assert isinstance(er[9], Best)
    assert finetune == ("finetune", "3", "30.0 ± 0.0", "[30.0, 30.0]", *["–"] * 5, "baseline")  # noqa: RUF001


def test_accuracy_has_a_table_where_it_was_recorded(make_run: MakeRun, tmp_path: Path) -> None:
    accuracy = {"all": [1, 2, 3], "last_all": 50.0, "average": 55.0, "last_many": 70.0, "last_medium": 40.0}
    make_run(tmp_path, "er")
    assert accuracy_table(load_results(tmp_path)) == []
    make_run(tmp_path, "lwf", accuracy=accuracy | {"last_few": None})
    heading, er, lwf = accuracy_table(load_results(tmp_path))
    assert heading[2:] == ("Last accuracy\u00a0↑", "Avg accuracy\u00a0↑", "Many\u00a0↑", "Medium\u00a0↑", "Few\u00a0↑")
    assert er == ("er", "1", *["–"] * 5)  # noqa: RUF001
    assert lwf == ("lwf", "1", "50.0", "55.0", "70.0", "40.0", "–")  # noqa: RUF001


def test_cost_is_over_all_tasks(runs: Path) -> None:
    _, er, joint = cost_table(load_results(runs))
    assert er == ("er", "2", "7.5 ± 0.0 s", "6.0 ± 0.0 s", "27.0 ± 0.0 s", "200.0 ± 0.0", "0 ± 0", "40", "2.50", "–")  # noqa: RUF001
    assert joint[-3:] == ("–", "–", "–")  # noqa: RUF001


def test_long_runs_are_told_in_hours(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run(tmp_path, "er")
    timing = {
        "task": 0,
        "train_seconds": 72_000,
        "train_cpu_seconds": 36_000,
        "eval_seconds": 1800,
        "samples_per_second": 10,
    }
    (folder / "timing.jsonl").write_text(json.dumps(timing))
    assert cost_table(load_results(tmp_path))[1][2:6] == ("20.0 h", "10.0 h", "0.5 h", "10.0")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b&c%d#e$f{g}", r"a\_b\&c\%d\#e\$f\{g\}"),
        ("\\~^", r"\textbackslash{}\textasciitilde{}\textasciicircum{}"),
        ("[-1.5, +2.0]", "[$-$1.5, +2.0]"),
        ("a\n\n\\input{/etc/passwd}", r"a \textbackslash{}input\{/etc/passwd\}"),
        ("long-tail er-2", "long-tail er-2"),
        ("–", "--"),  # noqa: RUF001
    ],
)
def test_latex_shows_special_characters(text: str, expected: str) -> None:
    assert escaped(text) == expected


def test_numbers_as_text() -> None:
    assert [signed(value) for value in (1.25, -0.04, 0.0, -3.0)] == ["+1.2", "0.0", "0.0", "-3.0"]
    assert [probability(p) for p in (0.0004, 0.05, 1.0, math.nan)] == ["< 0.001", "0.050", "1.000", "–"]  # noqa: RUF001
    assert interval(math.nan, 1.0) == "–"  # noqa: RUF001


def test_intervals_stay_where_the_metric_can_be() -> None:
    row = Contrast("er", "last_mAP", 2, 60.0, 10.0, 90.0, 2, 30.0, 200.0, 29.0, 31.0)
    forgetting = Contrast("er", "forgetting", 2, 60.0, 10.0, 190.0, 2)
    tables = difference_tables({"last_mAP": [row], "forgetting": [forgetting]}, "finetune")
    assert tables[0][1][0][3] == "[0.0, 100.0]"
    assert tables[0][1][0][6] == "[-100.0, +100.0]"
    assert tables[1][1][0][3] == "[-100.0, 100.0]"


def test_the_best_mean_is_marked_otherwise_than_a_significant_one(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(tmp_path, "er", last_mAP=62.0)
    make_run(tmp_path, "lwf", last_mAP=60.0)
    rows = final_table(load_results(tmp_path))
    assert [type(row[2]) for row in rows[1:]] == [Leader, str]
    assert "| er | 1 | *62.0* |" in markdown(rows)
    assert r"\underline{62.0}" in latex(rows, "", "")
