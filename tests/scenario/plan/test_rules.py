"""The plan's promises under every rule: who is in a task, what is visible, disjoint means disjoint, stable hash."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clsim.errors import ScenarioError, Unplannable
from clsim.scenario import StreamPlan, load_scenario
from clsim.scenario.plan.description import describe
from clsim.scenario.plan.planning import build_plan, joint_plan, oracle_memory_plan, stream_data

Labels = NDArray[np.int8]
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ASSIGNMENTS = ["overlap", {"disjoint": "random"}, {"disjoint": "first"}, {"disjoint": "rarest"}]
VISIBILITIES = ["task", "full", {"keep": 0.5}, "single-positive"]


@st.composite
def labels(draw: Any) -> Labels:
    """4-8 classes, 8-40 images, entries 1, 0, -1; every class shown by an image that shows nothing else."""
    classes, images = draw(st.integers(4, 8)), draw(st.integers(0, 32))
    entries = st.lists(st.sampled_from([1, 0, 0, 0, -1]), min_size=classes * images, max_size=classes * images)
    drawn = np.array(draw(entries), dtype=np.int8).reshape(images, classes)
    return np.concatenate([np.eye(classes, dtype=np.int8), drawn])


def plan_of(configure: Any, truth: Labels, base: int = 0, increment: int = 2, **overrides: Any) -> StreamPlan:
    names = [f"c{column}" for column in range(truth.shape[1])]
    config = configure(base, increment, **overrides)
    return build_plan(config, stream_data(config, names, truth, truth))


def streams() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "stream.assignment": st.sampled_from(ASSIGNMENTS),
            "labels.visible": st.sampled_from(VISIBILITIES),
            "stream.seed": st.integers(0, 3),
        }
    )


@quick
@given(truth=labels(), overrides=streams())
def test_every_row_truly_shows_a_class_of_its_task(configure: Any, truth: Labels, overrides: dict) -> None:
    try:
        plan = plan_of(configure, truth, **overrides)
    except Unplannable:
        return
    for task in plan.tasks:
        assert (truth[task.samples, slice(*task.classes)] == 1).any(axis=1).all()


@quick
@given(truth=labels(), overrides=streams())
def test_every_row_shows_a_positive_of_its_task_unless_labels_are_kept_by_chance(
    configure: Any, truth: Labels, overrides: dict
) -> None:
    assume(overrides["labels.visible"] != {"keep": 0.5})
    try:
        plan = plan_of(configure, truth, **overrides)
    except Unplannable:
        return
    for task in plan.tasks:
        own = [place for place, column in enumerate(task.columns) if column in range(*task.classes)]
        assert (task.values[:, own] == 1).any(axis=1).all()


@quick
@given(truth=labels(), overrides=streams(), order=st.permutations(range(8)))
def test_the_order_of_the_data_sets_columns_does_not_matter(
    configure: Any, truth: Labels, overrides: dict, order: list[int]
) -> None:
    names = [f"c{column}" for column in range(truth.shape[1])]
    order = [column for column in order if column < len(names)]
    config = configure(0, 2, **overrides)
    try:
        plan = build_plan(config, stream_data(config, names, truth, truth))
    except Unplannable:
        return
    moved = np.ascontiguousarray(truth[:, order])
    assert build_plan(config, stream_data(config, [names[c] for c in order], moved, moved)).sha256 == plan.sha256


@quick
@given(truth=labels(), overrides=streams())
def test_visible_labels_are_true_and_only_of_allowed_columns(configure: Any, truth: Labels, overrides: dict) -> None:
    try:
        plan = plan_of(configure, truth, **overrides)
    except Unplannable:
        return
    for task in plan.tasks:
        allowed = range(truth.shape[1]) if overrides["labels.visible"] == "full" else range(*task.classes)
        assert set(task.columns) <= set(allowed)
        shown = truth[np.ix_(task.samples, task.columns)]
        assert ((task.values == shown) | (task.values == -1)).all()


@quick
@given(truth=labels(), rule=st.sampled_from(ASSIGNMENTS[1:]), seed=st.integers(0, 5))
def test_disjoint_puts_every_image_with_a_positive_into_exactly_one_task(
    configure: Any, truth: Labels, rule: dict, seed: int
) -> None:
    try:
        plan = plan_of(configure, truth, **{"stream.assignment": rule, "stream.seed": seed})
    except Unplannable:
        return
    samples = np.concatenate([task.samples for task in plan.tasks])
    assert sorted(samples) == np.flatnonzero((truth == 1).any(axis=1)).tolist()


@quick
@given(truth=labels())
def test_first_and_rarest_follow_their_definitions(configure: Any, truth: Labels) -> None:
    counts = (truth == 1).sum(axis=0)

    def owner(row: Labels, rule: str) -> int:
        positives = np.flatnonzero(row == 1)
        return (positives.min() if rule == "first" else min(positives, key=lambda c: (counts[c], c))) // 2

    for rule in ("first", "rarest"):
        try:
            plan = plan_of(configure, truth, **{"stream.assignment": {"disjoint": rule}})
        except Unplannable:
            continue
        for index, task in enumerate(plan.tasks):
            assert all(owner(truth[sample], rule) == index for sample in task.samples)


@quick
@given(truth=labels(), seed=st.integers(0, 3))
def test_single_positive_shows_one_positive_and_nothing_else(configure: Any, truth: Labels, seed: int) -> None:
    plan = plan_of(configure, truth, **{"labels.visible": "single-positive", "stream.seed": seed})
    for task in plan.tasks:
        assert ((task.values == 1).sum(axis=1) == 1).all()
        assert not (task.values == 0).any()


@quick
@given(truth=labels(), overrides=streams())
def test_equal_input_gives_an_equal_hash_and_a_whole_round_trip(configure: Any, truth: Labels, overrides: dict) -> None:
    try:
        plan = plan_of(configure, truth, **overrides)
    except Unplannable:
        return
    assert plan_of(configure, truth, **overrides).sha256 == plan.sha256
    assert StreamPlan.from_bytes(plan.to_bytes()).sha256 == plan.sha256


BIG = np.repeat(np.array([[1, 1, 0, 1, 0, 0]], dtype=np.int8), 4000, axis=0)


def test_random_disjoint_assignment_is_even_and_follows_the_seed(configure: Any) -> None:
    rule = {"stream.assignment": {"disjoint": "random"}}
    eye = np.concatenate([BIG, np.eye(6, dtype=np.int8)])
    first, again, other = (plan_of(configure, eye, **rule, **{"stream.seed": seed}) for seed in (1, 1, 2))
    assert len(first.tasks[0]) == pytest.approx(2000, abs=150)
    assert first.sha256 == again.sha256 != other.sha256


def test_keep_hides_positives_and_negatives_alike_with_the_given_probability(configure: Any) -> None:
    plan = plan_of(configure, np.concatenate([BIG, np.eye(6, dtype=np.int8)]), **{"labels.visible": {"keep": 0.3}})
    values = plan.tasks[1].values[:4000]  # one column shown by all of them, one by none: [0, 1]
    assert (values[:, 0] == 0).mean() == pytest.approx(0.3, abs=0.03)
    assert (values[:, 1] == 1).mean() == pytest.approx(0.3, abs=0.03)
    assert (values[:, 0] == -1).mean() == pytest.approx(0.7, abs=0.03)


def test_keep_hides_the_same_labels_under_another_assignment(configure: Any) -> None:
    """A draw belongs to an image and a column, not to a place in a task."""
    truth = np.concatenate([np.eye(6, dtype=np.int8)] * 20)
    plans = [
        plan_of(configure, truth, **{"labels.visible": {"keep": 0.5}, "stream.assignment": rule})
        for rule in ("overlap", {"disjoint": "first"})
    ]
    for a, b in zip(plans[0].tasks, plans[1].tasks, strict=True):
        np.testing.assert_array_equal(a.values, b.values)


def test_noise_flips_visible_labels_with_the_given_probabilities(configure: Any) -> None:
    truth = np.concatenate([BIG, np.eye(6, dtype=np.int8)])
    noise = {"labels.noise.false_negative": 0.2, "labels.noise.false_positive": 0.05}
    clean, noisy = plan_of(configure, truth), plan_of(configure, truth, **noise)
    before, after = clean.tasks[1].values[:4000], noisy.tasks[1].values[:4000]
    np.testing.assert_array_equal(clean.tasks[1].samples, noisy.tasks[1].samples)
    assert (after[before == 1] == 0).mean() == pytest.approx(0.2, abs=0.03)
    assert (after[before == 0] == 1).mean() == pytest.approx(0.05, abs=0.015)
    np.testing.assert_array_equal(clean.test_truth, noisy.test_truth)


def test_noise_leaves_hidden_labels_hidden(configure: Any) -> None:
    truth = np.concatenate([BIG, np.eye(6, dtype=np.int8)])
    noise = {"labels.noise.false_negative": 0.5, "labels.visible": "single-positive"}
    hidden = plan_of(configure, truth, **{"labels.visible": "single-positive"}).tasks[0].values == -1
    np.testing.assert_array_equal(plan_of(configure, truth, **noise).tasks[0].values == -1, hidden)


def test_rows_left_without_a_visible_positive_are_counted(configure: Any) -> None:
    truth = np.eye(6, dtype=np.int8)
    plan = plan_of(configure, truth, **{"labels.visible": {"keep": 0.5}})
    counted = [task["rows_without_positive"] for task in describe(plan, truth)["tasks"]]
    assert counted == [int((task.values != 1).all(axis=1).sum()) for task in plan.tasks]
    assert sum(counted) > 0


def test_frequency_order_goes_from_common_to_rare_with_ties_by_name(configure: Any) -> None:
    truth = np.array([[0, 1, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=np.int8)
    plan = plan_of(configure, truth, **{"stream.order": "frequency"})
    assert plan.class_names == ("c1", "c0", "c2", "c3")


def test_validation_images_leave_training_and_are_scored_only_when_asked(configure: Any) -> None:
    truth = np.concatenate([BIG[:94], np.eye(6, dtype=np.int8)])
    share = {"dataset.validation": 0.2, "stream.increment": 6}
    on_test = plan_of(configure, truth, 0, 6, **share)
    validating = plan_of(configure, truth, 0, 6, **share, **{"evaluation.on": "validation"})
    held_out = validating.test_samples
    assert (validating.test_split, on_test.test_split) == ("train", "test")
    assert len(held_out) == 20
    np.testing.assert_array_equal(validating.test_truth, truth[held_out])
    for plan in (on_test, validating):
        assert sorted([*plan.tasks[0].samples, *held_out]) == list(range(100))
    assert on_test.groups.positives.sum() == truth[on_test.tasks[0].samples].sum()


def test_joint_does_not_train_on_validation_images(configure: Any) -> None:
    truth = np.concatenate([BIG[:94], np.eye(6, dtype=np.int8)])
    plan = plan_of(configure, truth, 0, 6, **{"dataset.validation": 0.2, "evaluation.on": "validation"})
    joint = joint_plan(plan, truth)
    assert not set(joint.tasks[-1].samples) & set(plan.test_samples)


def test_a_class_subset_streams_only_its_classes_and_images(configure: Any) -> None:
    truth = np.concatenate([BIG[:10], np.eye(6, dtype=np.int8)])
    plan = plan_of(configure, truth, 0, 1, **{"dataset.classes": ["c4", "c2"]})
    assert plan.class_names == ("c2", "c4")
    assert [task.samples.tolist() for task in plan.tasks] == [[12], [14]]
    assert plan.test_samples.tolist() == [12, 14]


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        ({"dataset.classes": ["1", "12"]}, "dataset.classes: unknown class '12'"),
        ({"dataset.classes": ["1", "1"]}, "dataset.classes: class '1' is listed more than once"),
        ({"dataset.classes": []}, "dataset.classes: an empty list"),
        ({"dataset.validation": 0.0001}, "dataset.validation: given 0.0001, which keeps 0 of 1200 images"),
        ({"evaluation.on": "validation"}, "evaluation.on: given 'validation', which needs dataset.validation above 0"),
        ({"stream.base": 11}, "stream.base: given 11, but there are only 10 classes"),
    ],
)
def test_what_makes_no_stream_is_refused_with_file_and_key(overrides: dict, problem: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_scenario("digits-b0c2", overrides).plan()
    (line,) = caught.value.problems
    key = next(iter(overrides))
    assert line.startswith(f"override {key}: ")
    assert problem in line


def test_oracle_memory_is_a_derived_plan_with_the_same_rows(configure: Any) -> None:
    truth = np.concatenate([BIG[:10], np.eye(6, dtype=np.int8)])
    plan = plan_of(configure, truth)
    oracle = oracle_memory_plan(plan, truth)
    assert oracle.derived_from == plan.sha256 != oracle.sha256
    assert StreamPlan.from_bytes(oracle.to_bytes()).sha256 == oracle.sha256
    for task, told in zip(plan.tasks, oracle.tasks, strict=True):
        np.testing.assert_array_equal(told.values, task.values)
        np.testing.assert_array_equal(told.memory_values, truth[task.samples])


GOLDEN = {
    "stream.assignment={disjoint: random}": "7c3f6cade69954c7",
    "stream.assignment={disjoint: rarest}": "f6e0e66c64b1da6e",
    "labels.visible={keep: 0.5}": "3561ac61001366aa",
    "labels.visible=single-positive": "23d7ed8085a46914",
    "labels.noise={false_negative: 0.1, false_positive: 0.01}": "33d3f7b1df4904ce",
    "dataset.validation=0.25": "9a33dcb293148468",
    "stream.order=frequency": "4c2b63b44c531761",
}


def test_random_rules_keep_their_hashes_under_another_hash_seed() -> None:
    code = (
        "from clsim.scenario import load_scenario\n"
        f"for text in {list(GOLDEN)!r}: print(load_scenario('digits-b0c2', [text]).plan().sha256[:16])"
    )
    for hash_seed in ("0", "424242"):
        run = [sys.executable, "-c", code]
        result = subprocess.run(run, capture_output=True, text=True, env={"PYTHONHASHSEED": hash_seed}, timeout=60)
        assert result.stdout.split() == list(GOLDEN.values()), result.stderr


@quick
@given(truth=labels(), overrides=streams())
def test_a_label_the_data_set_does_not_have_is_neither_positive_nor_negative(
    configure: Any, truth: Labels, overrides: dict
) -> None:
    """As 0 it decides nothing about who is where; but it is never shown, never flipped, never counted as hidden."""
    noise = {"labels.noise": {"false_negative": 0.5, "false_positive": 0.5}}
    try:
        plan = plan_of(configure, truth, **overrides, **noise)
    except Unplannable:
        return
    read_as_absent = plan_of(configure, np.maximum(truth, 0), **overrides, **noise)
    np.testing.assert_array_equal(plan.groups.positives, (truth == 1).sum(axis=0))
    for task, other in zip(plan.tasks, read_as_absent.tasks, strict=True):
        np.testing.assert_array_equal(task.samples, other.samples)
        not_annotated = truth[np.ix_(task.samples, task.columns)] == -1
        assert (task.values[not_annotated] == -1).all()
        np.testing.assert_array_equal(task.values[~not_annotated], other.values[~not_annotated])
    for content, task in zip(describe(plan, truth)["tasks"], plan.tasks, strict=True):
        shown = np.full((len(task), plan.n_classes), -1)
        shown[:, task.columns] = task.values
        assert content["hidden_labels"] == (truth[task.samples] != -1).sum() - (shown != -1).sum()
    for derived in (joint_plan(plan, truth), oracle_memory_plan(plan, truth)):
        last = derived.tasks[-1]
        values = last.values if last.memory_values is None else last.memory_values
        np.testing.assert_array_equal(values, truth[last.samples])
    known = (truth != -1).any(axis=1)  # an image of which nothing is known counts in no metric
    np.testing.assert_array_equal(plan.test_truth, truth[known])
    np.testing.assert_array_equal(plan.in_scope(len(plan.tasks) - 1), (truth[:, : plan.n_classes] == 1).any(axis=1))
