from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clsim.errors import RunError
from clsim.evaluation.kept_scores import describe_scores, kept_bytes, kept_tasks, read_scores
from clsim.scenario import Scenario, StreamPlan
from clsim.scenario.evaluation_schema import EvaluationSection


@pytest.fixture
def plan(tiny: Scenario) -> StreamPlan:
    """Three tasks, after which 4, 8 and 10 classes are seen; 40 test images."""
    return tiny.plan()


@pytest.fixture
def kept(plan: StreamPlan, tmp_path: Path) -> tuple[Path, Path]:
    """Scores of every task: each is the number of its place in the file."""
    scores, about = tmp_path / "scores.f32", tmp_path / "scores.json"
    scores.write_bytes(np.arange(40 * 22, dtype="<f4").tobytes())
    about.write_text(json.dumps(describe_scores(plan, "all", [f"{n}.jpg" for n in range(40)])))
    return scores, about


def test_a_run_keeps_the_scores_of_its_last_trained_task_unless_asked_otherwise(plan: StreamPlan) -> None:
    assert EvaluationSection().keep_scores == "last"
    assert [kept_tasks(plan, keep) for keep in ("none", "last", "all")] == [[], [2], [0, 1, 2]]
    assert [kept_bytes(plan, keep) for keep in ("none", "last", "all")] == [0, 1600, 3520]
    empty = dataclasses.replace(plan.tasks[2], samples=plan.tasks[2].samples[:0], values=plan.tasks[2].values[:0])
    assert kept_tasks(dataclasses.replace(plan, tasks=(*plan.tasks[:2], empty)), "last") == [1]


def test_scores_are_read_as_they_were_written_and_mapped(plan: StreamPlan, kept: tuple[Path, Path]) -> None:
    found = read_scores(*kept, plan.sha256)
    assert {task: scores.shape for task, scores in found.items()} == {0: (40, 4), 1: (40, 8), 2: (40, 10)}
    assert np.concatenate([scores.ravel() for scores in found.values()]).tolist() == list(range(880))
    assert not found[1].flags.writeable
    about = json.loads(kept[1].read_text())
    block = about["tasks"][1]
    by_hand = np.memmap(kept[0], "<f4", "r", block["offset"], (len(about["images"]), block["classes"]))
    np.testing.assert_array_equal(by_hand, found[1])
    assert about["images"][-1] == "39.jpg"
    assert not any("truth" in key for key in about)


def test_a_run_that_keeps_none_has_none(tmp_path: Path, plan: StreamPlan) -> None:
    assert read_scores(tmp_path / "scores.f32", tmp_path / "scores.json", plan.sha256) == {}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda scores, about: scores.write_bytes(b"1234"), r"scores.f32: holds 4 bytes, expected 3520"),
        (lambda scores, about: scores.unlink(), r"scores.f32: holds 0 bytes, expected 3520"),
        (lambda scores, about: about.write_text("{"), r"scores.json: not readable as JSON"),
        (lambda scores, about: about.write_text('{"format": 2}'), r"scores.json: format is 2, this version .* reads 1"),
        (lambda scores, about: about.write_text('{"format": 1, "plan_sha256": "x"}'), r"scores of another plan, x"),
    ],
    ids=["short", "gone", "no JSON", "format", "plan"],
)
def test_damaged_scores_are_one_clear_line(spoil: Any, message: str, plan: StreamPlan, kept: tuple[Path, Path]) -> None:
    spoil(*kept)
    with pytest.raises(RunError, match=message):
        read_scores(*kept, plan.sha256)


def test_a_damaged_list_of_blocks_is_one_clear_line(plan: StreamPlan, kept: tuple[Path, Path]) -> None:
    content = json.loads(kept[1].read_text())
    kept[1].write_text(json.dumps(content | {"tasks": [{"task": 0}]}))
    with pytest.raises(RunError, match=r"scores\.json: damaged: KeyError: 'classes'"):
        read_scores(*kept, plan.sha256)
