"""What the metric plugins and the metrics file do after and inside a task, with a strategy that only stands there."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from clsim.evaluation.history import History
from clsim.evaluation.loggers import MetricsFile
from clsim.evaluation.plugins import EpochLosses, MemorySize, StreamScores
from clsim.scenario.plan.stream_plan import ClassGroups, StreamPlan, TaskPlan
from clsim.training.memory.replay import Replay
from clsim.training.plugin import Plugin

LOGITS = torch.tensor([[3.0, -1.0], [2.0, 1.0], [-1.0, 2.0]])


def make_plan() -> StreamPlan:
    """Two tasks of a class each, one training row a task, three test images."""

    def task(column: int) -> TaskPlan:
        return TaskPlan((column, column + 1), np.array([0]), np.array([column]), np.ones((1, 1), dtype=np.int8))

    truth = np.array([[1, 0], [0, 1], [0, 1]], dtype=np.int8)
    groups = ClassGroups("counts", np.array([200, 5]), np.array([0, 2], dtype=np.int8))
    return StreamPlan(("a", "b"), (task(0), task(1)), np.arange(3), truth, "seen", groups)


def standing(
    task: int, epoch: int = 0, started: bool = False, stream: str = "evaluation", every: str | int = "epoch"
) -> SimpleNamespace:
    """A strategy with the template's position, epochs and batch."""
    return SimpleNamespace(
        position=SimpleNamespace(task=task, epoch=epoch, started=started),
        train_epochs=4,
        score_every=every,
        images=SimpleNamespace(run=123),
        experience=SimpleNamespace(origin_stream=SimpleNamespace(name=stream)),
        epoch_losses=lambda: {"total": 0.5},
        learning_rate=0.1,
    )


def score(scores: StreamScores, strategy: SimpleNamespace, logits: torch.Tensor = LOGITS) -> list:
    """One pass in two batches, rows in descending order; evaluation rows begin at 2."""
    scores.before_eval_exp(strategy)
    rows = torch.arange(2, 5)
    for part in (slice(1, 3), slice(0, 1)):
        strategy.mb_output, strategy.rows = logits[part].flip(0), rows[part].flip(0)
        scores.after_eval_iteration(strategy)
    return scores.after_eval_exp(strategy)


@pytest.fixture
def scores() -> StreamScores:
    return StreamScores(History(make_plan()))


def test_rows_find_their_place_whatever_their_order(scores: StreamScores) -> None:
    values = score(scores, standing(task=2))
    np.testing.assert_array_equal(scores.history.scores, LOGITS)
    assert {value.x_plot for value in values} == {2}
    assert {value.name: value.value for value in values}["per_class_AP/b"] == 100


def test_a_pass_inside_a_task_is_placed_at_the_epochs_done_and_not_kept(scores: StreamScores) -> None:
    score(scores, standing(task=1), LOGITS[:, :1])
    before = scores.state_dict()
    values = score(scores, standing(task=1, epoch=2, started=True))
    assert {value.name for value in values} == {"epoch/mAP_seen", "epoch/mAP_task_00", "epoch/mAP_task_01"}
    assert {value.x_plot for value in values} == {1 * 4 + 2 + 1}
    torch.testing.assert_close(scores.state_dict(), before, rtol=0, atol=0, equal_nan=True)
    assert scores.result() == scores.history.seen_map[0]


def test_losses_and_passes_of_an_epoch_have_the_same_step(scores: StreamScores) -> None:
    strategy = standing(task=1, epoch=3, started=True)
    assert EpochLosses().after_training_epoch(strategy)[0].x_plot == score(scores, strategy)[0].x_plot == 8


def test_other_streams_are_passed_over(scores: StreamScores) -> None:
    assert score(scores, standing(task=2, stream="test")) is None
    assert scores.history.last == -1


def kept(kind: type[Plugin], nbytes: int, **attributes: Any) -> Plugin:
    """A plugin of a kind that keeps so many bytes."""
    own: Any = type("Keeper", (kind,), {"nbytes": nbytes, "__init__": lambda self: None})()
    vars(own).update(attributes)
    return own


def test_memory_is_told_after_a_task_only() -> None:
    size = MemorySize([kept(Replay, 30, memory=[1, 2, 3])])
    assert size.after_eval_exp(standing(task=1, started=True)) is None
    values = size.after_eval_exp(standing(task=2))
    assert {value.name: (value.value, value.x_plot) for value in values} == {
        "memory/rows": (3, 2),
        "memory/bytes": (30, 2),
    }


def test_bytes_of_statistics_count_as_those_of_rows_do(caplog: pytest.LogCaptureFixture) -> None:
    rows, statistics = kept(Replay, 30, memory=[1, 2, 3]), kept(Plugin, 12)
    both = MemorySize([rows, Plugin(), statistics], limit=42)
    assert {value.name: value.value for value in both.after_eval_exp(standing(task=1))} == {
        "memory/rows": 3,
        "memory/bytes": 42,
    }
    assert not caplog.records
    alone = MemorySize([statistics], limit=11)
    assert {value.name: value.value for value in alone.after_eval_exp(standing(task=1))} == {"memory/bytes": 12}
    assert "memory.budget.bytes: given 11, but Keeper keep 12" in caplog.text


def test_lines_say_whether_a_pass_was_inside_a_task(scores: StreamScores, tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.jsonl")
    inside, after = standing(task=1, epoch=1, started=True), standing(task=2)
    file.after_eval_exp(inside, score(scores, inside))
    file.after_eval_exp(after, score(scores, after))
    file.after_eval_exp(after, [])
    between = standing(task=1, started=True, every=50)
    file.after_eval_exp(between, score(scores, between))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["phase"], line["task"], line["step"]) for line in lines] == [
        ("epoch-eval", 1, 6),
        ("eval", 1, 2),
        ("images-eval", 1, 123),
    ]
    assert set(lines[0]["values"]) == {"epoch/mAP_seen", "epoch/mAP_task_00", "epoch/mAP_task_01"}
    assert "mAP/seen" in lines[1]["values"]
    assert set(lines[2]["values"]) == {"images/mAP_seen", "images/mAP_task_00", "images/mAP_task_01"}
