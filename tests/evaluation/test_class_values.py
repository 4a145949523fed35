"""Values of each class and task in a file of their own: exact, where the lines say, and one clear line if damaged."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from clsim.errors import RunError
from clsim.evaluation.class_values import ClassValues, describe_rows, with_class_values
from clsim.evaluation.loggers import MetricsFile
from clsim.running.logged_values import read_logged
from clsim.running.run_folder import RunFolder
from clsim.scenario import Scenario

FIRST = {"mAP/seen": 50.0, "per_class_AP/0": 0.1 + 0.2, "per_class_AP/1": None, "mAP/task_00": 5e-324, "loss/0": 3}
SECOND = {
    "mAP/seen": None,
    "per_class_AP/0": math.pi,
    "per_class_AP/1": -0.0,
    "per_class_AP/2": 100 / 3,
    "per_class_AP/4": 1.5,  # not among the first names: it stays in the line
    "mAP/task_00": None,
    "mAP/task_01": 1e308,
    "metric/own/0": 1.0,
    "metric/other/0": 2.0,
}
LINES: list[dict[str, Any]] = [
    {"phase": "eval", "task": 0, "step": 1, "values": FIRST},
    {"phase": "train", "task": 1, "step": 1, "values": {"loss/total": 1.0}},
    {"phase": "eval", "task": 1, "step": 2, "values": SECOND},
]


@pytest.fixture
def written(tiny: Scenario, tmp_path: Path) -> RunFolder:
    """LINES of a run with three tasks, classes 0 to 9 and a metric named own."""
    files = RunFolder(tmp_path)
    about = describe_rows(tiny.plan(), ["own"])
    files.about_class_values.write_text(json.dumps(about))
    log = MetricsFile(files.metrics, ClassValues(files.class_values, about))
    for line in LINES:
        log.write(line | {"values": dict(line["values"])})
    return files


def test_values_are_read_as_they_were_written_and_undefined_is_not_missing(written: RunFolder) -> None:
    found = read_logged(written)
    assert found == LINES
    assert math.copysign(1, found[2]["values"]["per_class_AP/1"]) == -1
    assert type(found[0]["values"]["loss/0"]) is int


def test_lines_keep_what_is_not_one_of_each_class_or_task(written: RunFolder) -> None:
    lines = [json.loads(line) for line in written.metrics.read_text().splitlines()]
    assert [set(line["values"]) for line in lines] == [
        {"mAP/seen", "loss/0"},
        {"loss/total"},
        {"mAP/seen", "per_class_AP/4", "metric/other/0"},
    ]
    assert [line.get("rows") for line in lines] == [
        {"per_class_AP/": [0, 2], "mAP/": [2, 3]},
        None,
        {"per_class_AP/": [3, 6], "metric/own/": [6, 7], "mAP/": [7, 9]},
    ]


def test_the_documentation_reads_them(written: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "run_folder.md").read_text(encoding="utf-8")
    mark = "<!-- run by tests/evaluation/test_class_values.py -->"
    (block,) = re.findall(rf"{mark}\n```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(written.path)
    found: dict[str, Any] = {}
    exec(block, found)
    expected = {0: [0.1 + 0.2, math.nan, math.nan], 1: [math.pi, 0.0, 100 / 3]}
    pd.testing.assert_frame_equal(found["ap"], pd.DataFrame(expected, ["0", "1", "2"]), check_exact=True)


def test_lines_without_rows_need_no_other_file(tmp_path: Path) -> None:
    """As clsim 0.1.0 wrote them."""
    assert with_class_values(LINES, tmp_path / "none", tmp_path / "none.json") == LINES


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda run: run.class_values.write_bytes(bytes(71)), r"class_values.f64: damaged: holds 8 .* names 7 to 9$"),
        (lambda run: run.class_values.unlink(), r"class_values.f64: No such file"),
        (lambda run: run.about_class_values.unlink(), r"class_values.json: cannot be read: No such file"),
        (lambda run: run.about_class_values.write_text('{"format": 2}'), r"json: format is 2, this version .* reads 1"),
        (lambda run: run.about_class_values.write_text('{"format": 1}'), r"class_values.json: damaged: KeyError"),
        (lambda run: respell(run, "mAP/", "mAP?"), r"f64: damaged: not the rows that metrics.jsonl names: KeyError"),
        (lambda run: respell(run, "[0, 2]", "[0, null]"), r"f64: damaged: not the rows .*: TypeError"),
        (lambda run: respell(run, "[0, 2]", "[0.5, 2]"), r"f64: damaged: not the rows .*: TypeError"),
        (lambda run: respell(run, "[2, 3]", "[2, 9]"), r"f64: damaged: not the rows .*: ValueError"),
        (lambda run: respell(run, '{"per_class_AP/": [0, 2], "mAP/": [2, 3]}', "[]"), r"not the rows .*: Attribute"),
    ],
)
def test_what_is_damaged_is_one_clear_line(spoil: Any, message: str, written: RunFolder) -> None:
    spoil(written)
    with pytest.raises(RunError, match=message) as raised:
        read_logged(written)
    assert "\n" not in str(raised.value)


def respell(run: RunFolder, given: str, other: str) -> None:
    """Change the first place of a text among the rows of metrics.jsonl."""
    text = run.metrics.read_text()
    start = text.index('"rows"')
    assert given in text[start:]
    run.metrics.write_text(text[:start] + text[start:].replace(given, other, 1))
