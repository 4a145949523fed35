"""The typed result of a run: written, read back, and refused where it is not one."""

from __future__ import annotations

import json
import math
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from clsim.errors import RunError
from clsim.running.record import FORMAT, RunRecord, TaskTiming, read_record, read_timing
from clsim.running.record_parts import Measured, TaskRecord

SMALL = RunRecord("toy", "er", 0, "a" * 64, ["cat"], [TaskRecord(0, ["cat"], (0, 1), 5)], 50.0, [50.0], [[50.0]])


def written(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "result.json"
    path.write_text(json.dumps(content))
    return path


def test_a_real_run_writes_every_field_and_reads_back_equal(finished_run: Path) -> None:
    content = json.loads((finished_run / "result.json").read_bytes())
    assert set(content) == {"format", *(field.name for field in fields(RunRecord))}
    assert content["format"] == FORMAT == 2
    record = read_record(finished_run / "result.json")
    assert record.content() == content
    assert record.memory is not None
    assert isinstance(record.tasks[0], TaskRecord)
    assert isinstance(record.at("0.5"), Measured)
    assert record.at("0.5").last["CF1"] == record.at("0.5").courses["CF1"][-1]


def test_a_single_label_run_reads_back_equal(tmp_path: Path) -> None:
    accuracy = {"all": [1.0], "many": [None], "last_all": 1.0, "last_many": None, "average": 1.0}
    path = written(tmp_path, SMALL.content() | {"accuracy": accuracy})
    record = read_record(path)
    assert record.accuracy is not None
    assert (record.accuracy.average, record.accuracy.measured.last["all"]) == (1.0, 1.0)
    assert record.content()["accuracy"] == accuracy


def test_calibration_and_ranking_read_back_equal(tmp_path: Path) -> None:
    bins = {"entries": [3, 1], "present": [1, 1], "predicted": [0.5, 0.75]}
    calibration = {"ECE": [None], "ECE_classes": [2.5], "last_ECE": None, "last_ECE_classes": 2.5, "bins": bins}
    ranking = {"AUC": [51.5], "LRAP": [None], "last_AUC": 51.5, "last_LRAP": None}
    content = SMALL.content() | {"calibration": calibration, "ranking": ranking, "at_prevalence": {"last_CF1": 3.5}}
    record = read_record(written(tmp_path, content))
    assert record.calibration is not None
    assert record.calibration.bins is not None
    assert record.calibration.bins.predicted == [0.5, 0.75]
    assert (record.ranking.last["AUC"], record.at_prevalence.last["CF1"]) == (51.5, 3.5)
    assert record.content() == content
    assert SMALL.calibration is None


def test_what_is_undefined_is_null(tmp_path: Path) -> None:
    content = replace(SMALL, last_mAP=math.nan, R=[[math.nan]]).content()
    assert (content["last_mAP"], content["R"], content["order_seed"]) == (None, [[None]], None)
    assert read_record(written(tmp_path, content)).last_mAP is None


def test_optional_keys_may_be_missing_or_null_and_unknown_ones_are_passed_over(tmp_path: Path) -> None:
    content = SMALL.content() | {"options": None, "groups": None, "of_a_later_version": 3}
    del content["thresholds"]
    assert read_record(written(tmp_path, content)) == replace(SMALL, tasks=[TaskRecord(0, ["cat"], [0, 1], 5)])


@pytest.mark.parametrize(("name", "reference"), [("joint", "upper"), ("finetune", "lower"), ("er", None)])
def test_format_1_knows_the_references_by_their_names_only(tmp_path: Path, name: str, reference: str | None) -> None:
    content = replace(SMALL, strategy=name).content()
    assert read_record(written(tmp_path, content)).reference is None
    del content["reference"]
    assert read_record(written(tmp_path, content | {"format": 1})).reference == reference


def test_a_newer_format_is_one_clear_line(tmp_path: Path) -> None:
    path = written(tmp_path, {"format": 3})
    text = f"{path}: format is 3, this version of clsim reads 1 and 2; a newer clsim has written it"
    with pytest.raises(RunError, match=f"^{re.escape(text)}$"):
        read_record(path)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"tasks": 3}, "tasks: expected a list, found int"),
        ({"tasks": [{"index": 0}]}, "tasks: keys missing: classes, columns, train_images"),
        ({"R": []}, "mAP, R and tasks differ in length"),
        ({"R": [["x"]]}, "something else than numbers"),
        ({"mAP": 3}, "not iterable"),
        ({"groups": [1]}, "groups: expected a JSON object, found list"),
        ({"thresholds": {"0.5": 3}}, "thresholds.0.5: expected a JSON object, found int"),
        ({"memory": {"rows": 1}}, "memory: keys missing: bytes"),
        ({"memory": {"rows": 1, "bytes": 1, "labels": 3}}, "memory.labels: expected a JSON object, found int"),
        ({"ranking": 3}, "ranking: expected a JSON object, found int"),
        ({"at_prevalence": []}, "at_prevalence: expected a JSON object, found list"),
        ({"calibration": {"bins": {"entries": []}}}, "calibration.bins: keys missing: present, predicted"),
        ({"calibration": {"bins": {"entries": [1], "present": [], "predicted": []}}}, "differ in length"),
        ({"accuracy": []}, "accuracy: expected a JSON object, found list"),
        ({"seed": "0"}, "seed not a whole number"),
        ({"format": True}, "format is True"),
        ({"format": "2"}, "format is '2'"),
    ],
)
def test_what_is_no_result_is_refused_with_its_file(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    path = written(tmp_path, SMALL.content() | changes)
    with pytest.raises(RunError, match=f"{re.escape(str(path))}: .*{why}"):
        read_record(path)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"strategy": "../../x"}, r"strategy: given '../../x', expected no / and no"),
        ({"strategy": "er\x1b[31m"}, "no control characters"),
        ({"plan_sha256": "a\n\\input{/etc/passwd}"}, "plan_sha256: given .* expected a hash of letters and digits"),
        ({"derived_from": "`<script>"}, "derived_from: given"),
        ({"class_names": [["cat"]]}, "class_names is not a text"),
        ({"scenario": 3}, "scenario or a name"),
    ],
)
def test_names_and_hashes_of_somebody_elses_run_are_checked(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(RunError, match=why):
        read_record(written(tmp_path, SMALL.content() | changes))


def test_times_are_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "timing.jsonl"
    assert read_timing(path) == []
    path.write_text('{"task": 0, "train_seconds": 1.5, "new": 1}\n{"task": 1, "shared_seconds": 2.0}\n')
    assert read_timing(path) == [TaskTiming(0, 1.5), TaskTiming(1, shared_seconds=2.0)]
    path.write_text('{"train_seconds": 1.5}\n')
    with pytest.raises(RunError, match=re.escape(f"{path}: keys missing: task")):
        read_timing(path)
