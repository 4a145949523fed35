from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from clsim.evaluation.history import REPORTED, History
from clsim.scenario.plan.stream_plan import ClassGroups, StreamPlan, TaskPlan

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
    history.add(AFTER_0, 0)
    history.add(AFTER_1, 1)
    return history


def test_matrix_is_mean_ap_of_each_tasks_classes_over_all_test_images(history: History) -> None:
    b_first = (1 / 2 + 2 / 4) / 2  # image 3, negative, ranks above both positives; images 0 and 2 tie
    a_last = (1 / 2 + 2 / 3) / 2
    np.testing.assert_allclose(history.matrix(), [[50 * (1 + b_first), np.nan], [50 * (a_last + 1), 50]])


def test_seen_scope_leaves_out_images_without_a_seen_class() -> None:
    """After task 0 image 3 shows no seen class; without it b is ranked perfectly but for the tie."""
    seen, everything = History(make_plan("seen")), History(make_plan("all"))
    seen.add(AFTER_0, 0)
    everything.add(AFTER_0, 0)
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
    history.add(AFTER_0, 0)
    values = history.values()
    assert {"mAP/seen", "mAP/task_00", "per_class_AP/a", "per_class_AP/b", "forgetting/mean"} <= set(values)
    assert not {"mAP/task_01", "per_class_AP/c", "forgetting/task_00"} & set(values)
    assert np.isnan(values["forgetting/mean"])


def test_an_average_over_tasks_that_were_not_all_trained_is_undefined() -> None:
    history = History(make_plan())
    history.add(AFTER_1, 1)
    summary = history.summary()
    assert np.isnan(summary["avg_mAP"])
    assert np.isnan(summary["forgetting"])
    assert not np.isnan(summary["last_mAP"])


def test_metrics_at_each_threshold_are_those_of_the_images_in_scope() -> None:
    """After task 0 images 0 to 2 are in scope; at 0.5 every positive logit predicts, at 0.99 only those above 4.6."""
    history = History(make_plan(), thresholds=(0.5, 0.99))
    history.add(AFTER_0, 0)
    values = history.values()
    assert values["threshold_0.5/CF1"] == pytest.approx(100 * (1 + 2 * 2 / (2 * 2 + 1)) / 2)
    assert values["threshold_0.5/CF1_harmonic"] == pytest.approx(100 * 2 * (5 / 6) / (5 / 6 + 1))
    assert values["threshold_0.5/OF1"] == pytest.approx(100 * 8 / 9)
    assert (values["threshold_0.5/FPR"], values["threshold_0.5/FNR"]) == (50, 0)
    assert values["threshold_0.99/CF1"] == 50
    assert (values["threshold_0.99/FPR"], values["threshold_0.99/FNR"]) == (0, 50)


def test_an_empty_class_counts_as_zero_in_every_mean_over_classes_if_asked() -> None:
    """Class b has no positive: alone in the medium group, half of task 0, half of CF1 after task 0."""
    truth = TRUTH.copy()
    truth[:, 1] = 0
    plan = dataclasses.replace(make_plan("all"), test_truth=truth)
    skip, zero = History(plan, "skip", (0.5,)), History(plan, "zero", (0.5,))
    for history in (skip, zero):
        history.add(AFTER_0, 0)
        history.add(AFTER_1, 1)
    at_skip, at_zero = skip.summary(), zero.summary()
    assert at_zero["mAP"][0] == at_skip["mAP"][0] / 2
    assert at_zero["R"][1][0] == at_skip["R"][1][0] / 2
    for name in ("CF1", "CF1_harmonic"):
        courses = [summary["thresholds"]["0.5"][name] for summary in (at_skip, at_zero)]
        assert courses[1] == pytest.approx([courses[0][0] / 2, courses[0][1] * 2 / 3]), name
    assert at_zero["thresholds"]["0.5"]["OF1"] == at_skip["thresholds"]["0.5"]["OF1"]
    assert np.isnan(at_skip["groups"]["mAP"]["medium"]).all()
    assert at_zero["groups"]["mAP"]["medium"] == [0, 0]
    assert np.isnan(at_zero["groups"]["mAP"]["tail"][0])  # no class of it is seen yet
    assert np.isnan(at_skip["groups"]["forgetting"]["medium"])
    assert at_zero["groups"]["forgetting"]["medium"] == 0
    assert at_zero["groups"]["mAP"]["head"] == at_skip["groups"]["mAP"]["head"]
    np.testing.assert_array_equal(at_zero["AP"], at_skip["AP"])  # of a class alone it stays undefined


def test_scope_all_counts_every_image_at_a_threshold() -> None:
    history = History(make_plan("all"), thresholds=(0.5,))
    history.add(AFTER_0, 0)
    assert history.values()["threshold_0.5/FPR"] == 75  # image 3 adds two false positives


def test_summary_holds_the_course_and_the_last_value_at_each_threshold(history: History) -> None:
    recorded = history.summary()["thresholds"]
    assert list(recorded) == ["0.5", "0.8"]
    for threshold, table in recorded.items():
        assert set(table) == {f"{last}{name}" for name in REPORTED for last in ("", "last_")}
        for name in REPORTED:
            assert table[name][-1] == table[f"last_{name}"] == history.values()[f"threshold_{threshold}/{name}"]
    assert recorded["0.5"]["FPR"][0] == 50


def test_ranking_and_calibration_are_those_of_the_images_in_scope(history: History) -> None:
    """After task 0 images 0 to 2 are in scope, where b has AUC 0.75 for a tie; image 1 ranks b above a, 0 and 2 a."""
    recorded, values = history.summary(), history.values()
    assert recorded["ranking"]["AUC"][0] == pytest.approx(100 * (1 + 0.75) / 2)
    assert recorded["ranking"]["LRAP"][0] == pytest.approx(100)
    truth, p = TRUTH[:3, :2], 1 / (1 + np.exp(-AFTER_0[:3]))
    bins = (p * 15).astype(int)
    gaps = {c: [(p - truth)[(bins == b) & (np.arange(2) == c)].sum() for b in range(15)] for c in (0, 1)}
    errors = [100 * np.abs(gaps[c]).sum() / 3 for c in (0, 1)]
    together = 100 * np.abs(np.sum(list(gaps.values()), axis=0)).sum() / 6
    assert recorded["calibration"]["ECE_classes"][0] == pytest.approx(np.mean(errors))
    assert recorded["calibration"]["ECE"][0] == pytest.approx(together)
    for kind, names in (("ranking", ("AUC", "LRAP")), ("calibration", ("ECE", "ECE_classes"))):
        for name in names:
            assert values[f"{kind}/{name}"] == recorded[kind][name][-1] == recorded[kind][f"last_{name}"]
    assert sum(recorded["calibration"]["bins"]["entries"]) == TRUTH.size
    assert sum(recorded["calibration"]["bins"]["present"]) == TRUTH.sum()


def test_at_prevalence_each_class_is_predicted_as_often_as_training_shows_it() -> None:
    """One of two training images shows a, both show b: of the three images in scope the two and the three highest."""
    task = TaskPlan((0, 2), np.arange(2), np.arange(2), np.array([[1, 1], [-1, 1]], dtype=np.int8))
    plan = dataclasses.replace(make_plan(), tasks=(task, make_plan().tasks[1]))
    history = History(plan)
    history.add(AFTER_0, 0)
    values = history.values()
    assert values["threshold_prevalence/FNR"] == 0
    assert values["threshold_prevalence/FPR"] == 50  # b in image 0
    assert values["threshold_prevalence/Hamming"] == pytest.approx(100 / 6)
    assert values["threshold_prevalence/CF1"] == pytest.approx(100 * (1 + 4 / 5) / 2)
    assert history.summary()["at_prevalence"]["CF1"][0] == values["threshold_prevalence/CF1"]


def test_a_threshold_given_twice_is_one() -> None:
    assert History(make_plan(), thresholds=[0.5, 0.5]).thresholds == (0.5,)


def test_a_task_that_was_not_trained_has_no_value_at_a_threshold() -> None:
    history = History(make_plan())
    history.add(AFTER_1, 1)
    course = history.summary()["thresholds"]["0.5"]["CF1"]
    assert np.isnan(course[0])
    assert not np.isnan(course[1])


def test_the_running_average_ends_as_the_average(history: History) -> None:
    assert history.values()["mAP/average"] == history.summary()["avg_mAP"]


def test_class_forgetting_is_told_after_the_last_task_for_the_classes_before_it(history: History) -> None:
    values = history.values()
    assert {tag for tag in values if tag.startswith("per_class_forgetting/")} == {
        "per_class_forgetting/a",
        "per_class_forgetting/b",
    }
    assert values["per_class_forgetting/a"] == pytest.approx(100 * (1 - (1 / 2 + 2 / 3) / 2))
    first = History(make_plan())
    first.add(AFTER_0, 0)
    assert not any(tag.startswith("per_class_forgetting/") for tag in first.values())


def test_positives_of_the_classes_are_in_the_summary(history: History) -> None:
    assert history.summary()["groups"]["positives"] == [200, 50, 5]


def test_state_round_trip(history: History) -> None:
    other = History(make_plan())
    other.load_state_dict(history.state_dict())
    np.testing.assert_equal(other.summary(), history.summary())
    np.testing.assert_equal(other.values(), history.values())


def test_a_state_of_before_ranking_and_calibration_leaves_them_undefined(history: History) -> None:
    """A run begun then and resumed now: courses go on from its next task."""
    first = History(make_plan())
    first.add(AFTER_0, 0)
    state = first.state_dict()
    for name in ("at_prevalence", "ranking", "calibration", "reliability"):
        del state[name]
    state["at_threshold"] = np.delete(first.at_threshold, REPORTED.index("Hamming"), axis=-1).tolist()
    other = History(make_plan())
    other.load_state_dict(state)
    other.add(AFTER_1, 1)
    np.testing.assert_equal(other.values(), history.values())
    before, now = other.summary(), history.summary()
    assert before["thresholds"]["0.5"]["OF1"] == now["thresholds"]["0.5"]["OF1"]
    assert before["thresholds"]["0.5"]["predicted_new"] == now["thresholds"]["0.5"]["predicted_new"]
    for courses in (before["thresholds"]["0.5"]["Hamming"], before["ranking"]["AUC"], before["at_prevalence"]["OF1"]):
        np.testing.assert_array_equal(np.isnan(courses), [True, False])


def test_a_state_taken_stays_as_it_was(history: History) -> None:
    state, before = history.state_dict(), history.state_dict()
    history.add(AFTER_1[::-1], 1)
    torch.testing.assert_close(state, before, rtol=0, atol=0, equal_nan=True)
    assert history.seen_map[-1] != before["seen_map"][-1]


def test_scores_of_a_wrong_width_are_refused() -> None:
    with pytest.raises(ValueError, match="scores have 2 columns, expected the 3 classes seen after task 1"):
        History(make_plan()).add(AFTER_0, 1)
    with pytest.raises(ValueError, match=r"scores of task 2, expected one of 0 \.\.\. 1"):
        History(make_plan()).add(AFTER_1, 2)


@pytest.mark.parametrize("repeated", [0, 1], ids=["inside", "at the end"])
def test_a_task_without_a_new_class_has_a_row_and_no_column_of_its_own(history: History, repeated: int) -> None:
    plan = make_plan()
    tasks = list(plan.tasks)
    tasks.insert(repeated + 1, dataclasses.replace(tasks[repeated], classes=(tasks[repeated].classes[1],) * 2))
    other = History(dataclasses.replace(plan, tasks=tuple(tasks)))
    passes = [AFTER_0, AFTER_1]
    passes.insert(repeated + 1, passes[repeated])
    for task, scores in enumerate(passes):
        other.add(scores, task)
        assert other.last == task
    kept = [task for task in range(3) if task != repeated + 1]
    np.testing.assert_equal(other.matrix()[np.ix_(kept, kept)], history.matrix())
    assert np.isnan(other.matrix()[:, repeated + 1]).all()
    np.testing.assert_equal(other.seen_map, np.insert(history.seen_map, repeated + 1, history.seen_map[repeated]))
    assert np.isnan(other.values()[f"mAP/task_{repeated + 1:02d}"])


@pytest.mark.parametrize("score", [-9.0, 0.7, 9.0])
def test_the_score_of_an_entry_without_truth_changes_no_number(score: float) -> None:
    truth = TRUTH.copy()
    truth[2, 0], truth[3, 1], truth[3, 2], truth[0, 2] = -1, -1, -1, -1
    plan = dataclasses.replace(make_plan(), test_truth=truth)
    scored, other = History(plan), History(plan)
    for task, after in enumerate((AFTER_0, AFTER_1)):
        scored.add(after, task)
        other.add(np.where(truth[:, : after.shape[1]] == -1, score, after), task)
    assert np.nan_to_num(scored.at_threshold, nan=-1).any()
    np.testing.assert_equal(other.summary(), scored.summary())
    assert np.isnan(scored.ap[1, 2]), "the only positive of class c is not annotated, so it has no AP"
    read_as_absent = History(make_plan())
    read_as_absent.add(AFTER_0, 0)
    assert scored.ap[0, 0] != pytest.approx(read_as_absent.ap[0, 1])


# --- single-label data


def single_label_plan() -> StreamPlan:
    """The plan above with six test images of one class each: a, a, a, b, b, c."""
    truth = np.eye(3, dtype=np.int8)[[0, 0, 0, 1, 1, 2]]
    return dataclasses.replace(make_plan(), test_samples=np.arange(6), test_truth=truth)


def test_accuracy_is_over_images_of_seen_classes_and_of_each_group() -> None:
    history = History(single_label_plan())
    history.add(np.array([[2.0, 1], [2, 1], [0, 1], [0, 1], [3, 1], [9, 0]]), 0)  # right: a, a, b
    values = history.values()
    assert values["accuracy/all"] == pytest.approx(60)
    assert values["accuracy/many"] == pytest.approx(100 * 2 / 3)
    assert values["accuracy/medium"] == 50
    assert np.isnan(values["accuracy/few"])
    history.add(np.array([[0.0, 0, 1], [0, 0, 1], [1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 1]]), 1)  # right: a, b, c
    values, recorded = history.values(), history.summary()["accuracy"]
    assert (values["accuracy/all"], values["accuracy/few"]) == (50, 100)
    assert values["accuracy/average"] == recorded["average"] == pytest.approx(55)
    assert recorded["all"] == pytest.approx([60, 50])
    assert recorded["last_many"] == pytest.approx(100 / 3)


def test_accuracy_survives_a_stop_and_is_undefined_for_several_labels() -> None:
    history, again = History(single_label_plan()), History(single_label_plan())
    history.add(np.array([[2.0, 1], [2, 1], [0, 1], [0, 1], [3, 1], [9, 0]]), 0)
    again.load_state_dict(history.state_dict())
    np.testing.assert_array_equal(again.accuracy, history.accuracy)
    several = History(make_plan())
    several.add(AFTER_0, 0)
    assert "accuracy" not in several.summary()
    assert not [name for name in several.values() if name.startswith("accuracy")]
