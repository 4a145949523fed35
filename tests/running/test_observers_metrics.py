"""Own metrics of a run: what they measure is kept, over all processes of it, and they change nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import clsim
from clsim.errors import ClsimError
from clsim.report.results import load_results
from clsim.running.execution import execute
from clsim.running.run_folder import RunFolder
from tests.fixtures.logged import lines_of
from tests.fixtures.observers import killed, same_training


def test_own_metrics_are_curves_values_and_columns(
    prepared_with: Callable[..., Path], observer_files: Path, finished_run: Path
) -> None:
    metrics = [
        {"name": f"{observer_files}/my_metrics.py:hits", "options": {"factor": 2}},
        f"{observer_files}/my_metrics.py:micro",
    ]
    folder = prepared_with(evaluation__metrics=metrics)
    result = execute(folder)
    assert same_training(folder, finished_run)
    courses = {name: course for metric in result["metrics"].values() for name, course in metric["courses"].items()}
    assert list(courses) == ["hits/share", "hits/task", "hits/never", "micro"]
    assert (courses["hits/task"], courses["hits/never"]) == ([0.0, 1.0, 2.0], [None] * 3)
    assert courses["micro"][0] is None
    logged = [line["values"]["metric/hits/share"] for line in lines_of(folder) if line["phase"] == "eval"]
    assert logged == courses["hits/share"]
    assert 0 <= logged[-1] <= 200
    events = RunFolder(folder).events.read_bytes()
    assert b"metric/hits/share" in events
    assert b"metric/hits/never" not in events
    frame = load_results(folder.parents[1]).frame
    assert frame.loc[0, "hits/share"] == courses["hits/share"][-1]
    assert frame.loc[0, "micro"] == courses["micro"][-1]
    page = clsim.Comparison(folder.parents[1], ("lwf+er",)).report().read_text(encoding="utf-8")
    assert 'id="table-own-metrics"' in page
    assert f"hits ({observer_files}/my_metrics.py:hits)" in page
    assert "hits/share" in (folder.parents[1] / "results.csv").read_text()
    assert "| Strategy | Seeds | hits/share | hits/task | hits/never | micro |" in (
        folder.parents[1] / "results.md"
    ).read_text(encoding="utf-8")


def test_own_metrics_of_a_resumed_run_are_those_of_a_whole_one(
    prepared_with: Callable[..., Path], observer_files: Path
) -> None:
    folder = prepared_with(evaluation__metrics=[f"{observer_files}/my_metrics.py:hits"])
    killed(folder)
    assert execute(folder)["metrics"]["hits"]["courses"]["hits/task"] == [0.0, 1.0, 2.0]


def test_one_that_fails_late_is_mended_and_the_run_goes_on(
    prepared_with: Callable[..., Path], observer_files: Path
) -> None:
    folder = prepared_with(evaluation__metrics=[f"{observer_files}/my_metrics.py:late"])
    with pytest.raises(
        ClsimError, match="metric late failed after task 1: ZeroDivisionError: division by zero"
    ) as stop:
        execute(folder)
    assert re.match(rf"{re.escape(str(observer_files))}/my_metrics.py:\d+: metric late", str(stop.value))
    path = observer_files / "my_metrics.py"
    path.write_text(path.read_text().replace("1 / (task - 1)", "task"))
    assert execute(folder)["metrics"]["late"]["courses"]["late"] == [None, 1.0, 2.0]  # the first is of other code
    assert "late has changed: its values up to task 0 are dropped" in RunFolder(folder).run_log.read_text()
