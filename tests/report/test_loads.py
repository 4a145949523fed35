"""Train times that were measured on a busier machine are marked, and the others are not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from clsim.report.loads import MARK, busier, load_note
from clsim.report.results import load_results
from clsim.report.tables import cost_table, final_table


def with_load(folder: Path, *loads: float | None) -> None:
    lines = [{"task": t, "train_seconds": 2.0, "other_load": load} for t, load in enumerate(loads)]
    (folder / "timing.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_times_under_different_loads_are_marked(make_run: Callable[..., Path], tmp_path: Path) -> None:
    with_load(make_run(tmp_path, "er"), 0.5, 0.3, None)
    with_load(make_run(tmp_path, "lwf"), 0.0, 0.1, 0.05)
    make_run(tmp_path, "old")  # a run that recorded no load
    results = load_results(tmp_path)
    assert busier(results) == {"er": 0.4}
    marked = {row[0]: row[-1].endswith(MARK) for row in final_table(results)[1:]}
    assert marked == {"er": True, "lwf": False, "old": False}
    assert [row[2].endswith(MARK) for row in cost_table(results)[1:]] == [True, False, False]
    assert [row[-1] for row in cost_table(results)] == ["Load by others", "40\u00a0%", "5\u00a0%", "–"]  # noqa: RUF001
    assert "(er 40 %; the least disturbed strategy 5 %)" in load_note(results)


def test_equal_loads_are_not_marked(make_run: Callable[..., Path], tmp_path: Path) -> None:
    with_load(make_run(tmp_path, "er"), 0.5)
    with_load(make_run(tmp_path, "lwf"), 0.45)
    results = load_results(tmp_path)
    assert (busier(results), load_note(results)) == ({}, "")
