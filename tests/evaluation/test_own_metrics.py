"""Metrics that a user brings: what they are given, what they may return, and what is said when they fail."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clsim.errors import RunError
from clsim.evaluation.history import History
from clsim.evaluation.own_metrics import OwnMetric, check_names, try_out
from clsim.running.record import RunRecord
from tests.evaluation.test_history import AFTER_0, AFTER_1, TRUTH, make_plan


def metric(function: Any, name: str = "own", code: str = "c0") -> OwnMetric:
    return OwnMetric(name, f"/a/my.py:{name}", code, function)


def test_it_is_given_the_scores_in_scope_after_each_task() -> None:
    given = []

    def see(scores: Any, targets: Any, images: Any, task: int) -> float:
        given.append((scores, targets, images, task))
        return task / 2

    history = History(make_plan("seen"), metrics=(metric(see),))
    history.add(AFTER_0, 0)
    history.add(AFTER_1, 1)
    (scores, targets, images, task), (last, *_) = given
    assert task == 0
    np.testing.assert_array_equal(scores, AFTER_0[:3])  # image 3 shows no class of the first task
    np.testing.assert_array_equal(targets, TRUTH[:3, :2])
    assert (targets.dtype, images.dtype, images.tolist()) == (np.int8, np.int64, [0, 1, 2])
    np.testing.assert_array_equal(last, AFTER_1)
    assert history.values()["metric/own"] == 0.5
    assert history.summary()["metrics"] == {
        "own": {"reference": "/a/my.py:own", "code": "c0", "courses": {"own": [0.0, 0.5]}}
    }


def test_it_is_not_called_without_an_image() -> None:
    plan = make_plan("seen")
    empty = dataclasses.replace(plan, test_truth=np.array([[0, 0, 1]] * 4, dtype=np.int8))
    history = History(empty, metrics=(metric(lambda scores, *_: len(scores) / len(scores)),))
    try_out(history.metrics, empty)
    history.add(AFTER_0, 0)
    history.add(AFTER_1, 1)
    np.testing.assert_array_equal(history.own["own"], [np.nan, 1])


def test_it_cannot_change_what_others_measure() -> None:
    def spoil(scores: Any, targets: Any, images: Any, task: int) -> None:
        scores[:], targets[:], images[:] = 0, -1, -1

    after = metric(lambda scores, targets, images, task: float((scores * targets * images[:, None]).sum()), "after")
    alone, spoilt = History(make_plan(), metrics=(after,)), History(make_plan(), metrics=(metric(spoil), after))
    for history in (alone, spoilt):
        history.add(AFTER_0.copy(), 0)
        history.add(AFTER_1.copy(), 1)
    np.testing.assert_array_equal(spoilt.own["after"], alone.own["after"])
    assert repr({**spoilt.summary(), "metrics": {}}) == repr({**alone.summary(), "metrics": {}})
    np.testing.assert_array_equal(spoilt.plan.test_truth, TRUTH)


@pytest.mark.parametrize(
    ("returned", "values"),
    [
        (3, {"own": 3.0}),
        (None, {"own": np.nan}),
        (float("nan"), {"own": np.nan}),
        (float("inf"), {"own": np.nan}),
        (np.float32(0.5), {"own": 0.5}),
        (np.array(0.5), {"own": 0.5}),
        (torch.tensor(0.5), {"own": 0.5}),
        ({"macro": 1, "k@5": None}, {"own/macro": 1.0, "own/k@5": np.nan}),
        ({}, {}),
    ],
)
def test_values_are_numbers_none_or_a_dict_of_them(returned: Any, values: dict[str, float]) -> None:
    np.testing.assert_equal(metric(lambda *_: returned)(AFTER_0, TRUTH[:, :2], np.arange(4), 0), values)


@pytest.mark.parametrize(
    ("returned", "problem"),
    [
        ("0.5", "metric /a/my.py:own returned str after task 1; expected a number, None where it is undefined"),
        (True, "metric /a/my.py:own returned bool after task 1"),
        ([0.5], "metric /a/my.py:own returned list after task 1"),
        (np.zeros(2), "metric /a/my.py:own returned ndarray of shape (2,) after task 1"),
        (1j, "metric /a/my.py:own returned complex after task 1"),
        ({"a": "x"}, "metric /a/my.py:own returned str after task 1"),
        ({"a/b": 1}, "metric /a/my.py:own returned 'a/b' as a name of a value"),
        ({1: 1}, "metric /a/my.py:own returned 1 as a name of a value"),
    ],
)
def test_anything_else_is_one_clear_line(returned: Any, problem: str) -> None:
    with pytest.raises(RunError, match=re.escape(problem)) as caught:
        metric(lambda *_: returned)(AFTER_0, TRUTH[:, :2], np.arange(4), 1)
    assert "\n" not in str(caught.value)


def test_an_error_is_told_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "my.py"
    path.write_text("def own(scores, targets, images, task):\n    return 1 / (task - 1)\n")
    space: dict[str, Any] = {}
    exec(compile(path.read_text(), str(path), "exec"), space)
    with pytest.raises(RunError) as caught:
        OwnMetric("own", f"{path}:own", "", space["own"])(AFTER_0, TRUTH[:, :2], np.arange(4), 1)
    assert str(caught.value) == f"{path}:2: metric own failed after task 1: ZeroDivisionError: division by zero"


def test_names_are_taken_once() -> None:
    with pytest.raises(RunError, match=re.escape("/a/my.py:last_mAP: clsim itself measures last_mAP")):
        check_names([metric(len, "last_mAP")], ["last_mAP"])
    twice = [metric(len), OwnMetric("own", "/b/other.py:own", "", len)]
    with pytest.raises(RunError, match=re.escape("metric /b/other.py:own: /a/my.py:own is also named own")):
        check_names(twice, [])


def test_each_is_tried_on_the_truth_of_the_first_task() -> None:
    given = []
    try_out([metric(lambda *arguments: given.append(arguments))], make_plan("all"))
    ((scores, targets, _, task),) = given
    assert (scores.shape, scores.dtype, task) == ((4, 2), np.float32, 0)
    np.testing.assert_array_equal(targets, TRUTH[:, :2])


def test_a_resumed_run_keeps_the_values_of_unchanged_code_only(caplog: pytest.LogCaptureFixture) -> None:
    one, other = metric(lambda *_: 1.0), metric(lambda *_: 2.0, "other")
    before = History(make_plan(), metrics=(one, other))
    before.add(AFTER_0, 0)
    changed = metric(lambda *_: 3.0, "other", code="c1")
    after = History(make_plan(), metrics=(one, changed))
    after.load_state_dict(before.state_dict())
    after.add(AFTER_1, 1)
    np.testing.assert_array_equal(after.own["own"], [1, 1])
    np.testing.assert_array_equal(after.own["other"], [np.nan, 3])
    assert "metric /a/my.py:other has changed: its values up to task 0 are dropped" in caplog.text
    state = {key: value for key, value in before.state_dict().items() if not key.startswith("own")}
    History(make_plan()).load_state_dict(state)  # of a checkpoint from before there were such metrics


def test_the_record_holds_them() -> None:
    history = History(make_plan(), metrics=(metric(lambda *_: {"a": 1, "b": None}),))
    history.add(AFTER_0, 0)
    history.add(AFTER_1, 1)
    summary = history.summary()
    tasks = [{"index": t, "classes": [], "columns": [0, 0], "train_images": 0} for t in range(2)]
    rest = {"scenario": "s", "strategy": "er", "seed": 0, "plan_sha256": "", "class_names": ["a", "b", "c"]}
    record = RunRecord.of({**rest, "tasks": tasks, **summary, "AP": None})
    assert record.metrics["own"].courses["own/a"] == [1.0, 1.0]
    assert RunRecord.of(record.content()).metrics["own"].courses == {"own/a": [1.0, 1.0], "own/b": [None, None]}
