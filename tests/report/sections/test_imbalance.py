"""Old and new classes apart: the numbers of the table, the ratio over the tasks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from clsim.report.results import load_results
from clsim.report.sections.imbalance import HEADINGS, imbalance_tables, old_ratio, ratio_figures

MakeRun = Callable[..., Path]
COURSES = {"predicted_old": [None, 20.0, 60.0], "last_predicted_old": 60.0}


def test_table_sets_predicted_beside_present_for_old_and_new_classes(labelled: Path) -> None:
    ((threshold, rows),) = imbalance_tables(load_results(labelled))
    assert threshold == "0.5"
    finetune = dict(zip(HEADINGS, rows[1], strict=True))
    assert finetune == {
        "Strategy": "finetune",
        "Old: predicted": "30.0",
        "Old: present": "24.0",
        "New: predicted": "13.0",
        "New: present": "27.0",
        "FPR old\u00a0↓": "15.0",
        "FPR new\u00a0↓": "18.0",
    }
    assert rows[2][:2] == ("rebll", "30.0 ± 0.0")


def test_ratio_divides_the_shares_of_the_same_task(labelled: Path) -> None:
    results = load_results(labelled)
    np.testing.assert_array_equal(old_ratio(results, "rebll", "0.5"), [[np.nan, 2.0, 1.25]] * 2)
    ((threshold, svg),) = ratio_figures(results)
    assert threshold == "0.5"
    assert "after the last: er+identity 1.25, finetune 1.25, rebll 1.25" in svg


def test_no_present_old_class_leaves_the_ratio_undefined(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(tmp_path, "er", thresholds={"0.5": COURSES}, present={"old": [None, 0.0, 30.0], "new": [1.0, 1.0, 1.0]})
    np.testing.assert_array_equal(old_ratio(load_results(tmp_path), "er", "0.5"), [[np.nan, np.nan, 2.0]])


def test_only_thresholds_with_recorded_blocks_are_shown(make_run: MakeRun, tmp_path: Path) -> None:
    present = {"old": [None, 10.0, 30.0], "new": [1.0, 1.0, 1.0]}
    make_run(tmp_path, "er", thresholds={"0.5": COURSES, "0.8": {"last_CF1": 1.0}}, present=present)
    make_run(tmp_path, "lwf", thresholds={"0.5": {"last_CF1": 1.0}})
    results = load_results(tmp_path)
    ((threshold, rows),) = imbalance_tables(results)
    assert threshold == "0.5"
    assert rows == [("er", "60.0", "30.0", "–", "1.0", "–", "–"), ("lwf", *["–"] * 6)]  # noqa: RUF001
    ((threshold, svg),) = ratio_figures(results)
    assert threshold == "0.5"
    assert "after the last: er 2.00" in svg
    assert "lwf" not in svg


def test_runs_without_them_have_neither_table_nor_figure(runs: Path) -> None:
    results = load_results(runs)
    assert imbalance_tables(results) == []
    assert ratio_figures(results) == []
