"""Streams in which classes come back: by name in `tasks`, or at random by `repetition`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clsim.errors import Unplannable
from clsim.scenario import StreamPlan, load_scenario
from clsim.scenario.plan.description import describe
from clsim.scenario.plan.planning import build_plan, joint_plan, stream_data
from clsim.scenario.plan.task_classes import TaskClasses, task_classes

Labels = NDArray[np.int8]
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ASSIGNMENTS = ["overlap", {"disjoint": "random"}, {"disjoint": "first"}, {"disjoint": "rarest"}]


def plan_of(configure: Any, truth: Labels, **keys: Any) -> StreamPlan:
    names = [f"c{column}" for column in range(truth.shape[1])]
    config = configure(increment=None if {"stream.tasks", "stream.sizes"} & keys.keys() else 2, **keys)
    return build_plan(config, stream_data(config, names, truth, truth))


def random_labels(seed: int, images: int = 60, classes: int = 6) -> Labels:
    drawn = np.random.default_rng(seed).random((images, classes)) < 0.3
    return np.concatenate([np.eye(classes, dtype=np.int8), drawn.astype(np.int8)])


def test_a_class_that_is_named_again_comes_back(configure: Any) -> None:
    truth = random_labels(0, classes=4)
    tasks = [["c1", "c0"], ["c2", "c1"], ["c0"], ["c3", "c2", "c1"]]
    plan = plan_of(configure, truth, **{"stream.tasks": tasks})
    assert plan.class_names == ("c1", "c0", "c2", "c3")
    assert [(task.classes, task.returning) for task in plan.tasks] == [
        ((0, 2), ()),
        ((2, 3), (0,)),
        ((3, 3), (1,)),
        ((3, 4), (0, 2)),
    ]
    for task, names in zip(plan.tasks, tasks, strict=True):
        columns = sorted(plan.class_names.index(name) for name in names)
        assert task.columns.tolist() == columns
        shows = (truth[:, [int(plan.class_names[c][1]) for c in columns]] == 1).any(axis=1)
        assert task.samples.tolist() == np.flatnonzero(shows).tolist()
    assert [task.get("returning") for task in describe(plan, truth)["tasks"]] == [None, ["c1"], ["c0"], ["c1", "c2"]]


@quick
@given(
    seed=st.integers(0, 1000),
    probability=st.sampled_from([0.01, 0.3, 0.7, 1.0]),
    images=st.sampled_from([0.2, 1.0]),
    rule=st.sampled_from(ASSIGNMENTS),
    visible=st.sampled_from(["task", {"keep": 0.5}, "single-positive"]),
)
def test_who_is_in_a_task_and_what_is_visible(
    configure: Any, seed: int, probability: float, images: float, rule: Any, visible: Any
) -> None:
    truth = random_labels(seed)
    keys = {"stream.repetition": {"probability": probability, "images": images}, "stream.seed": seed}
    try:
        plan = plan_of(configure, truth, **keys, **{"stream.assignment": rule, "labels.visible": visible})
    except Unplannable:  # a task without an image
        return
    times = np.zeros(len(truth), dtype=int)
    for task in plan.tasks:
        current = task.of_classes.current
        assert set(current.tolist()) | set(task.of_classes.old.tolist()) == set(range(task.classes[1]))
        assert (truth[np.ix_(task.samples, current)] == 1).any(axis=1).all(), "an image shows a class of its task"
        assert task.columns.tolist() == current.tolist(), "no other class is annotated"
        shown = task.values != -1
        assert (task.values[shown] == truth[np.ix_(task.samples, current)][shown]).all()
        new = np.flatnonzero((truth[:, slice(*task.classes)] == 1).any(axis=1))
        if rule == "overlap":
            assert set(new.tolist()) <= set(task.samples.tolist()), "images of new classes all come"
        times[task.samples] += 1
    if rule != "overlap":
        assert times.max() == 1, "disjoint means disjoint"
    again = StreamPlan.from_bytes(plan.to_bytes())
    assert again.sha256 == plan.sha256
    assert [task.returning for task in again.tasks] == [task.returning for task in plan.tasks]


def test_each_class_comes_back_with_the_probability(configure: Any) -> None:
    names = [f"c{n}" for n in range(400)]
    stream = configure(increment=20, **{"stream.repetition": {"probability": 0.3}}).stream
    tasks = task_classes(stream, names)
    assert tasks[0] == TaskClasses(0, 20)
    shares = [len(task.returning) / task.start for task in tasks[1:]]
    assert np.mean(shares) == pytest.approx(0.3, abs=0.02)
    assert tasks == task_classes(stream, names)
    always = configure(increment=20, **{"stream.repetition": {"probability": 1.0}}).stream
    assert [len(task.current) for task in task_classes(always, names)] == list(range(20, 401, 20))


def test_the_hash_knows_what_comes_back_and_joint_shows_all_seen_classes(configure: Any) -> None:
    truth = random_labels(1)
    once, again = (
        plan_of(configure, truth, **{"stream.tasks": [["c0", "c1", "c2", "c3"], tail]})
        for tail in (["c4", "c5"], ["c4", "c5", "c0"])
    )
    assert once.sha256 != again.sha256
    joint = joint_plan(again, truth)
    assert joint.tasks[1].columns.tolist() == list(range(6))
    assert joint.derived_from == again.sha256


def test_a_task_may_bring_no_new_class_but_not_be_without_one(configure: Any) -> None:
    truth = random_labels(2)
    keys = {"stream.sizes": [4, 0, 2]}
    plan = plan_of(configure, truth, **keys, **{"stream.repetition": {"probability": 1.0}})
    assert (plan.tasks[1].classes, plan.tasks[1].returning) == ((4, 4), (0, 1, 2, 3))
    with pytest.raises(Unplannable, match="task 1 has no class: it brings none, and none comes back"):
        plan_of(configure, truth, **keys)
    with pytest.raises(Unplannable, match="task 1 names 'c0' twice"):
        plan_of(configure, truth, **{"stream.tasks": [["c0", "c1", "c2", "c3", "c4", "c5"], ["c0", "c0"]]})


def test_a_domain_incremental_stream_has_all_classes_in_each_task(configure: Any) -> None:
    """Same classes, other images: classes by name, images by a partition."""
    names = [str(digit) for digit in range(10)]
    keys = {"dataset.train": 60, "dataset.test": 30, "stream.increment": None, "stream.tasks": [names, names]}
    plan = load_scenario("digits-b0c2", keys).plan()
    assert plan.tasks[1].of_classes.current.tolist() == list(range(10))
    assert plan.tasks[1].classes == (10, 10)
