"""Passes inside tasks: their values, and their mean over a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from clsim.evaluation.history import History
from clsim.scenario.plan.stream_plan import ClassGroups, StreamPlan, TaskPlan

SCORES = np.array([[8.0, 0.0], [0.0, 9.0], [7.0, 8.0]])


def make_history() -> History:
    """Two tasks of a class each, three test images; scored after both."""
    tasks = [TaskPlan((c, c + 1), np.array([0]), np.array([c]), np.ones((1, 1), dtype=np.int8)) for c in range(2)]
    truth = np.array([[1, 0], [0, 1], [0, 1]], dtype=np.int8)
    groups = ClassGroups("counts", np.array([200, 5]), np.array([0, 2], dtype=np.int8))
    history = History(StreamPlan(("a", "b"), tuple(tasks), np.arange(3), truth, "seen", groups))
    history.add(SCORES[:, :1], 0)
    history.add(SCORES, 1)
    return history


@pytest.fixture
def history() -> History:
    return make_history()


def test_a_pass_inside_a_task_leaves_no_trace(history: History) -> None:
    before, scores = history.state_dict(), history.scores
    values = history.inside.values(SCORES[::-1], 1)
    torch.testing.assert_close(history.state_dict(), before, rtol=0, atol=0, equal_nan=True)
    assert history.scores is scores
    assert set(values) == {"epoch/mAP_seen", "epoch/mAP_task_00", "epoch/mAP_task_01"}


@pytest.mark.parametrize("kind", ["epoch", "images"])
def test_a_pass_inside_a_task_scores_as_the_one_after_it(history: History, kind: str) -> None:
    values, after = history.inside.values(SCORES, 1, kind), history.values()
    assert {tag.replace(f"{kind}/mAP_", "mAP/"): value for tag, value in values.items()} == {
        tag: after[tag] for tag in ("mAP/seen", "mAP/task_00", "mAP/task_01")
    }


def test_the_anytime_average_is_the_mean_over_the_passes_and_survives_a_resume(history: History) -> None:
    assert np.isnan(history.summary()["anytime_mAP"])
    history.inside.keep([("images/mAP_seen", 40.0), ("images/mAP_task_00", 90.0)])
    history.inside.keep([("loss/total", 0.5), ("mAP/seen", 99.0)])
    resumed = make_history()
    resumed.load_state_dict(history.state_dict())
    resumed.inside.keep([("images/mAP_seen", 70.0)])
    assert resumed.summary()["anytime_mAP"] == 55.0


@pytest.mark.parametrize("lost", ["undefined", "older"])
def test_a_pass_that_is_undefined_or_not_known_leaves_the_average_undefined(history: History, lost: str) -> None:
    state: dict[str, Any] = history.state_dict()
    if lost == "older":  # of a version that kept no passes
        del state["inside"]
    history.load_state_dict(state)
    history.inside.keep([("epoch/mAP_seen", None if lost == "undefined" else 50.0)])
    assert np.isnan(history.summary()["anytime_mAP"])
