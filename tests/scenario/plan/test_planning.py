"""From configuration and labels to a plan: task ranges, class order, overlap assignment, visibility, groups, joint."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clsim.errors import ScenarioError, Unplannable
from clsim.scenario.evaluation_schema import EvaluationSection
from clsim.scenario.plan.description import describe, plan_notes
from clsim.scenario.plan.planning import build_plan, joint_plan, stream_data
from clsim.scenario.plan.rules import class_groups, class_order
from clsim.scenario.plan.task_classes import task_classes

LABELS = arrays(np.int8, st.tuples(st.integers(1, 12), st.integers(1, 7)), elements=st.sampled_from([-1, 0, 1]))
quick = settings(
    derandomize=True, deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def plan_of(config, names, train, test):  # type: ignore[no-untyped-def]
    """The plan of label matrices in the data set's order."""
    return build_plan(config, stream_data(config, names, train, test))


def order_of(stream, names):  # type: ignore[no-untyped-def]
    """A class order that needs no counts."""
    return class_order(stream, names, np.zeros(len(names)))


def _names(n: int) -> list[str]:
    return [f"class {index:02d}" for index in range(n)]


def _coverable(labels: np.ndarray) -> np.ndarray:
    """The labels and one more image that shows everything, so that no task is empty."""
    return np.concatenate([labels, np.ones((1, labels.shape[1]), dtype=np.int8)])


@pytest.mark.parametrize(
    ("base", "increment", "classes", "tasks", "last"),
    [
        (0, 4, 20, 5, 4),  # VOC B0-C4
        (10, 2, 20, 6, 2),  # VOC B10-C2
        (5, 3, 20, 6, 3),  # VOC B5-C3
        (4, 2, 20, 9, 2),  # VOC B4-C2
        (0, 10, 80, 8, 10),  # COCO B0-C10
        (40, 10, 80, 5, 10),  # COCO B40-C10
        (0, 4, 10, 3, 2),
        (20, 2, 20, 1, 20),
    ],
)
def test_bi_cj_gives_the_protocols_number_of_tasks(
    configure: Any, base: int, increment: int, classes: int, tasks: int, last: int
) -> None:
    ranges = task_classes(configure(base, increment).stream, _names(classes))
    assert len(ranges) == tasks
    assert ranges[0] == (0, base or increment, ())
    assert ranges[-1] == (classes - last, classes, ())


@quick
@given(base=st.integers(0, 30), increment=st.integers(1, 30), classes=st.integers(1, 40))
def test_tasks_partition_the_classes(configure: Any, base: int, increment: int, classes: int) -> None:
    stream = configure(base, increment).stream
    if (base or increment) > classes:
        with pytest.raises(ScenarioError, match=f"given {base or increment}, but there are only {classes} classes"):
            task_classes(stream, _names(classes))
        return
    ranges = task_classes(stream, _names(classes))
    assert [column for task in ranges for column in task.current.tolist()] == list(range(classes))
    assert all(task.stop - task.start == increment for task in ranges[1:-1])


def test_alphabetical_order_is_by_name_wherever_the_column_stands(configure: Any) -> None:
    order = order_of(configure().stream, ["dog", "bird", "cat"])
    assert order.tolist() == [1, 2, 0]


def test_seeded_order_is_a_permutation_of_names_not_of_columns(configure: Any) -> None:
    names = _names(20)
    stream = configure(**{"stream.order": "seed", "stream.order_seed": 3}).stream
    order = [names[column] for column in order_of(stream, names)]
    turned = names[::-1]
    assert sorted(order) == names
    assert order != names
    assert [turned[column] for column in order_of(stream, turned)] == order


def test_another_order_seed_gives_another_order(configure: Any) -> None:
    orders = {
        tuple(order_of(configure(**{"stream.order": "seed", "stream.order_seed": seed}).stream, _names(20)))
        for seed in range(5)
    }
    assert len(orders) == 5


def test_explicit_order_is_followed(configure: Any) -> None:
    stream = configure(**{"stream.order": ["cat", "dog", "bird"]}).stream
    assert order_of(stream, ["dog", "bird", "cat"]).tolist() == [2, 0, 1]


def test_explicit_order_names_every_unknown_repeated_and_missing_class(configure: Any) -> None:
    stream = configure(**{"stream.order": ["cat", "dgo", "cat", "cow"]}).stream
    with pytest.raises(ScenarioError) as caught:
        order_of(stream, ["dog", "bird", "cat"])
    assert str(caught.value) == (
        "stream.order: unknown class 'dgo', did you mean 'dog'?; unknown class 'cow'; "
        "class 'cat' is listed more than once; class 'dog' is missing; class 'bird' is missing"
    )


@quick
@given(labels=LABELS, increment=st.integers(1, 3), full=st.booleans())
def test_overlap_assignment_equals_its_definition(
    configure: Any, labels: np.ndarray, increment: int, full: bool
) -> None:
    labels = _coverable(labels)
    increment = min(increment, labels.shape[1])
    config = configure(0, increment, **{"labels.visible": "full" if full else "task"})
    plan = plan_of(config, _names(labels.shape[1]), labels, labels)
    for task in plan.tasks:
        classes = range(*task.classes)
        visible = range(labels.shape[1]) if full else classes
        images = [i for i in range(len(labels)) if any(labels[i, c] == 1 for c in classes)]
        assert task.samples.tolist() == images
        assert task.columns.tolist() == list(visible)
        assert task.values.tolist() == [[labels[i, c] for c in visible] for i in images]


def test_columns_follow_the_order_of(configure: Any) -> None:
    train = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]], dtype=np.int8)
    plan = plan_of(configure(0, 1), ["dog", "bird", "cat"], train, train[:2])
    assert plan.class_names == ("bird", "cat", "dog")
    assert [task.samples.tolist() for task in plan.tasks] == [[1, 3], [2], [0, 3]]
    assert plan.test_truth.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert plan.groups.positives.tolist() == [2, 1, 2]


@pytest.mark.parametrize("sizes", [[24, 18, 14, 14], [1], [2, 3]])
def test_tasks_have_the_listed_sizes(configure: Any, sizes: list[int]) -> None:
    stream = configure(increment=None, **{"stream.sizes": sizes}).stream
    ranges = task_classes(stream, _names(sum(sizes)))
    assert [len(task.current) for task in ranges] == sizes
    assert [column for task in ranges for column in task.current.tolist()] == list(range(sum(sizes)))
    with pytest.raises(Unplannable, match=f"given {sum(sizes)} classes in all, but there are {sum(sizes) + 1}"):
        task_classes(stream, _names(sum(sizes) + 1))


def test_tasks_have_the_listed_classes_in_their_order(configure: Any) -> None:
    config = configure(increment=None, **{"stream.tasks": [["c", "a"], ["d"], ["b"]]})
    train = np.eye(4, dtype=np.int8)
    plan = plan_of(config, ["a", "b", "c", "d"], train, train)
    assert [plan.names(task) for task in plan.tasks] == [["c", "a"], ["d"], ["b"]]
    assert [task.samples.tolist() for task in plan.tasks] == [[0, 2], [3], [1]]
    for names, text in {
        ("a", "b", "c"): "unknown class 'd'",
        ("a", "b", "c", "d", "e"): "class 'e' is missing",
    }.items():
        with pytest.raises(Unplannable, match=text) as raised:
            plan_of(config, list(names), np.eye(len(names), dtype=np.int8), np.eye(len(names), dtype=np.int8))
        assert raised.value.path == ("stream", "tasks")


def test_an_empty_task_is_refused_with_its_classes(configure: Any) -> None:
    train = np.array([[1, 1, 0, -1]], dtype=np.int8)
    with pytest.raises(ScenarioError, match=r"stream: task 1 \(class 02, class 03\) is empty"):
        plan_of(configure(0, 2), _names(4), train, train)


def test_seen_scope_counts_images_with_a_seen_class_and_all_scope_every_image(configure: Any) -> None:
    test = np.array([[1, 0], [0, 1], [0, 0], [-1, 0]], dtype=np.int8)
    plans = {
        scope: plan_of(configure(0, 1, **{"evaluation.images": scope}), _names(2), test, test)
        for scope in ("seen", "all")
    }
    assert plans["seen"].in_scope(0).tolist() == [True, False, False, False]
    assert plans["seen"].in_scope(1).tolist() == [True, True, False, False]
    assert plans["all"].in_scope(0).tolist() == [True] * 4


def test_groups_by_counts_cut_at_100_and_20() -> None:
    groups = class_groups(np.array([19, 20, 99, 100, 0]), "counts")
    assert groups.group.tolist() == [2, 1, 1, 0, 2]


def test_terciles_split_classes_by_falling_positives_larger_groups_first() -> None:
    groups = class_groups(np.array([5, 9, 7, 5, 1]), "terciles")
    assert {name: groups.columns(name).tolist() for name in ("head", "medium", "tail")} == {
        "head": [1, 2],
        "medium": [0, 3],
        "tail": [4],
    }


@pytest.mark.parametrize(
    ("positives", "rule"), [([100, 50, 3], "counts"), ([100, 50, 20], "terciles"), ([9, 9, 9], "terciles")]
)
def test_auto_takes_counts_unless_a_group_would_be_empty(positives: list[int], rule: str) -> None:
    assert class_groups(np.array(positives), "auto").rule == rule


@quick
@given(labels=LABELS)
def test_joint_sees_every_image_with_a_seen_class_and_all_seen_columns(configure: Any, labels: np.ndarray) -> None:
    labels = _coverable(labels)
    plan = plan_of(configure(0, 1), _names(labels.shape[1]), labels, labels)
    joint = joint_plan(plan, labels)
    assert joint.derived_from == plan.sha256
    for task in joint.tasks:
        seen = range(task.classes[1])
        images = [i for i in range(len(labels)) if any(labels[i, c] == 1 for c in seen)]
        assert task.samples.tolist() == images
        assert task.columns.tolist() == list(seen)
        assert task.values.tolist() == [[labels[i, c] for c in seen] for i in images]


def test_joint_last_only_leaves_the_other_tasks_without_rows(configure: Any) -> None:
    labels = np.eye(3, dtype=np.int8)
    joint = joint_plan(plan_of(configure(0, 1), _names(3), labels, labels), labels, last_only=True)
    assert [len(task) for task in joint.tasks] == [0, 0, 3]
    assert [task.classes for task in joint.tasks] == [(0, 1), (1, 2), (2, 3)]


def test_a_plan_derived_twice_belongs_to_the_first_family(configure: Any) -> None:
    labels = np.eye(3, dtype=np.int8)
    plan = plan_of(configure(0, 1), _names(3), labels, labels)
    again = joint_plan(joint_plan(plan, labels), labels)
    assert again.family == plan.family == plan.sha256


def test_describe_counts_what_the_stream_hides(configure: Any) -> None:
    train = np.array([[1, 1, 0], [1, 0, -1], [0, 1, 1]], dtype=np.int8)
    plan = plan_of(configure(0, 1), _names(3), train, train)
    content = describe(plan, train)
    first = content["tasks"][0]
    assert (first["train_images"], first["positives"]) == (2, {"class 00": 2})
    assert (first["hidden_positives"], first["hidden_labels"]) == (1, 3)
    assert (content["train_images"], content["train_rows"], content["test_images"]) == (3, 5, 3)


@pytest.mark.parametrize("scope", ["seen", "all"])
def test_a_test_image_of_which_nothing_is_known_is_not_scored(configure: Any, scope: str) -> None:
    config = configure(0, 1).model_copy(update={"evaluation": EvaluationSection(images=scope)})
    train = np.array([[1, 0], [0, 1]], dtype=np.int8)
    test = np.array([[1, 0], [-1, -1], [-1, 0], [0, 0], [-1, 1]], dtype=np.int8)
    plan = plan_of(config, _names(2), train, test)
    assert plan.test_samples.tolist() == [0, 2, 3, 4]
    assert plan.in_scope(1).tolist() == ([True, True, True, True] if scope == "all" else [True, False, False, True])


def test_a_training_image_of_which_nothing_is_known_is_in_no_task(configure: Any) -> None:
    train = np.array([[1, 0], [-1, -1], [0, 1], [-1, 1]], dtype=np.int8)
    plan = plan_of(configure(0, 1), _names(2), train, train)
    assert [task.samples.tolist() for task in plan.tasks] == [[0], [2, 3]]
    assert [task.samples.tolist() for task in joint_plan(plan, train).tasks] == [[0], [0, 2, 3]]


def test_an_explicit_order_of_thousands_of_wrong_classes_is_cut_short(configure: Any) -> None:
    stream = configure(**{"stream.order": [f"x{index}" for index in range(20_000)]}).stream
    with pytest.raises(ScenarioError) as caught:
        order_of(stream, ["dog", "cat"])
    assert str(caught.value).startswith("stream.order: unknown class 'x0'; unknown class 'x1'; ")
    assert str(caught.value).endswith("class 'dog' is missing; class 'cat' is missing; and 19990 more")


def test_classes_without_a_positive_and_tasks_of_one_row_are_said(configure: Any) -> None:
    train = np.array([[1, 0, 0], [1, 0, 0], [0, 0, 1]], dtype=np.int8)
    test = np.array([[1, 1, 0]], dtype=np.int8)
    plan = plan_of(configure(2, 1), ["a", "b", "c"], train, test)
    assert plan_notes(plan) == [
        "classes that no training image shows, and no method can learn: b",
        "classes that no test image shows, and no metric counts: c",
        "classes without a visible 0, which no method can tell from others by labels alone: a, c",
        "tasks of one training image: 1; batch norm over maps of 1 x 1 pixels takes its stored statistics there",
    ]
    assert describe(plan, train)["notes"] == plan_notes(plan)
    both = np.array([[1, 1, 0], [0, 0, 1], [1, 0, 1], [0, 1, 0], [1, 1, 1]], dtype=np.int8)
    shown = {"labels.visible": "full"}
    assert plan_notes(plan_of(configure(2, 1, **shown), ["a", "b", "c"], both, both)) == []


def test_it_is_said_what_a_stream_cannot_teach(configure: Any) -> None:
    alone = plan_of(configure(0, 1), _names(2), np.eye(2, dtype=np.int8), np.eye(2, dtype=np.int8))
    assert plan_notes(alone)[0].startswith("classes without a visible 0, which no method can tell from others")
    assert "class 00, class 01" in plan_notes(alone)[0]
    many = np.repeat(np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=np.int8), [30, 15, 3, 2], axis=0)
    sizes = {"stream.tasks": [["class 00", "class 01"], ["class 02"]], "stream.increment": None}
    notes = plan_notes(plan_of(configure(**sizes), _names(3), many, many))
    assert notes[-1] == "tasks of unequal size: 2 to 48 training images, and as unequal numbers of steps"
    assert plan_notes(plan_of(configure(**sizes), _names(3), many, many[-2:]))[0].endswith("counts: class 00, class 01")
