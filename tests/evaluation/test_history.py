from __future__ import annotations

import numpy as np
import pytest

from clsim.evaluation.history import History
from clsim.scenario.plan import ClassGroups, StreamPlan, TaskPlan

TRUTH = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=np.int8)


def make_plan(scope: str = "seen") -> StreamPlan:
    """Two tasks (classes a, b; then c), four test images; group: a head, b medium, c tail."""

    def task(start: int, stop: int) -> TaskPlan:
        columns = np.arange(start, stop)
        return TaskPlan((start, stop), np.array([0]), columns, np.ones((1, stop - start), dtype=np.int8))

    groups = ClassGroups("counts", np.array([200, 50, 5]), np.array([0, 1, 2], dtype=np.int8))
    return StreamPlan(("a", "b", "c"), (task(0, 2), task(2, 3)), np.arange(4), TRUTH, scope, groups)


# after task 0 class a is ranked perfectly, b at AP 1/2 (1/2 + 2/4 over 2) ; after task 1 a has AP (1/2 + 2/3) / 2
AFTER_0 = np.array([[9.0, 1.0], [0.0, 3.0], [8.0, 1.0], [1.0, 4.0]])
AFTER_1 = np.array([[8.0, 0.0, 0.0], [0.0, 9.0, 1.0], [7.0, 8.0, 3.0], [9.0, 1.0, 2.0]])


@pytest.fixture
def history() -> History:
    history = History(make_plan())
    assert history.add(AFTER_0) == 0
    assert history.add(AFTER_1) == 1
    return history


def test_matrix_is_mean_ap_of_each_tasks_classes_over_all_test_images(history: History) -> None:
    b_first = (1 / 2 + 2 / 4) / 2  # image 3, negative, ranks above both positives; images 0 and 2 tie
    a_last = (1 / 2 + 2 / 3) / 2
    np.testing.assert_allclose(history.matrix(), [[50 * (1 + b_first), np.nan], [50 * (a_last + 1), 50]])


def test_seen_scope_leaves_out_images_without_a_seen_class() -> None:
    """After task 0 image 3 shows no seen class; without it b is ranked perfectly but for the tie."""
    seen, everything = History(make_plan("seen")), History(make_plan("all"))
    seen.add(AFTER_0)
    everything.add(AFTER_0)
    assert seen.seen_map[0] == pytest.approx(50 * (1 + (1 + 2 / 3) / 2))
    assert everything.seen_map[0] == pytest.approx(75)


def test_summary_reports_forgetting_transfer_and_averages(history: History) -> None:
    summary = history.summary()
    first, last = 75.0, 50 * ((1 / 2 + 2 / 3) / 2 + 1)
    assert summary["forgetting"] == pytest.approx(first - last)
    assert summary["backward_transfer"] == pytest.approx(last - first)
    assert summary["last_mAP"] == summary["mAP"][-1]
    assert summary["avg_mAP"] == pytest.approx(np.mean(summary["mAP"]))
    assert summary["groups"]["members"] == {"head": ["a"], "medium": ["b"], "tail": ["c"]}
    assert summary["groups"]["last_mAP"]["tail"] == pytest.approx(50)
    assert summary["groups"]["forgetting"]["head"] == pytest.approx(100 * (1 - (1 / 2 + 2 / 3) / 2))
    assert np.isnan(summary["groups"]["forgetting"]["tail"])


def test_values_name_only_what_is_seen() -> None:
    history = History(make_plan())
    history.add(AFTER_0)
    values = history.values()
    assert {"mAP/seen", "mAP/task_00", "AP/a", "AP/b", "forgetting/mean"} <= set(values)
    assert not {"mAP/task_01", "AP/c", "forgetting/task_00"} & set(values)
    assert np.isnan(values["forgetting/mean"])


def test_an_average_over_tasks_that_were_not_all_trained_is_undefined() -> None:
    history = History(make_plan())
    history.add(AFTER_1)
    summary = history.summary()
    assert np.isnan(summary["avg_mAP"])
    assert np.isnan(summary["forgetting"])
    assert not np.isnan(summary["last_mAP"])


def test_state_round_trip(history: History) -> None:
    other = History(make_plan())
    other.load_state_dict(history.state_dict())
    np.testing.assert_equal(other.summary(), history.summary())


def test_scores_of_a_wrong_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"1 columns, expected .*\[2, 3\]"):
        History(make_plan()).add(AFTER_0[:, :1])
