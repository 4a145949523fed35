"""Head, medium and tail in the report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from clsim.report.results import load_results
from clsim.report.sections.groups import course_figures, forgetting_table, last_figure

MakeRun = Callable[..., Path]


def test_each_group_has_its_course_with_a_band(make_run: MakeRun, tmp_path: Path) -> None:
    groups = json.loads((make_run(tmp_path, "er", seed=0) / "result.json").read_text())["groups"]
    make_run(tmp_path, "er", seed=1, groups=groups | {"mAP": groups["mAP"] | {"head": [20.0, 40.0, 30.0]}})
    make_run(tmp_path, "lwf", groups=None)
    figures = dict(course_figures(load_results(tmp_path)))
    assert list(figures) == ["head", "medium", "tail"]
    assert "<title>er: 40.0, 60.0, 40.0</title>" in figures["head"]
    assert "<title>er: –, 70.0, 40.0</title>" in figures["medium"]  # noqa: RUF001
    assert "FillBetweenPolyCollection" in figures["head"]
    assert "lwf" not in figures["head"]


def test_forgetting_of_groups_is_a_table(runs: Path) -> None:
    heading, er, joint = forgetting_table(load_results(runs))
    assert heading == ("Strategy", "Head forgetting\u00a0↓", "Medium forgetting\u00a0↓", "Tail forgetting\u00a0↓")
    assert er == ("er", "30.0 ± 0.0", "30.0 ± 0.0", "–")  # noqa: RUF001
    assert joint[0] == "joint"


def test_runs_without_groups_have_no_figures(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(tmp_path, "er", groups=None)
    results = load_results(tmp_path)
    assert course_figures(results) == []
    assert last_figure(results) is None
