"""Blurry streams: who is in a task, how often an image comes, what is annotated where."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clsim.errors import ScenarioError, Unplannable
from clsim.scenario import StreamPlan, load_scenario
from clsim.scenario.plan.blurry import homes, n_blurry
from clsim.scenario.plan.description import describe
from clsim.scenario.plan.planning import build_plan, stream_data
from clsim.scenario.stream_schema import BlurrySection

Labels = NDArray[np.int8]
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
GOLDEN = {
    "even": "b149536d8e81d51a21dbba516a54fcd81645f8f474f838d1cb0ac00c92a4567d",
    "random": "d63ed0f07f8f563891ee95c061fbe11623fcb8342a61816c1f57a5ab4e3e80f8",
}


def random_labels(seed: int, images: int = 80, classes: int = 7) -> Labels:
    drawn = np.random.default_rng(seed).choice(np.array([1, 0, 0, 0, -1], dtype=np.int8), (images, classes))
    return np.concatenate([np.eye(classes, dtype=np.int8), drawn])


def plan_of(configure: Any, truth: Labels, rule: dict[str, Any], **keys: Any) -> StreamPlan:
    names = [f"c{column}" for column in range(truth.shape[1])]
    config = configure(increment=None, **{"stream.blurry": rule, **keys})
    return build_plan(config, stream_data(config, names, truth, truth))


@quick
@given(
    labels_seed=st.integers(0, 1000),
    tasks=st.integers(2, 4),
    disjoint=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    blurred=st.sampled_from([0.0, 0.2, 1.0]),
    sizes=st.sampled_from(["even", "random"]),
    seed=st.integers(0, 5),
    visible=st.sampled_from(["task", {"keep": 0.5}, "single-positive"]),
)
def test_who_is_in_a_task_and_what_is_visible(
    configure: Any, labels_seed: int, tasks: int, disjoint: float, blurred: float, sizes: Any, seed: int, visible: Any
) -> None:
    truth = random_labels(labels_seed)
    rule = {"tasks": tasks, "disjoint": disjoint, "blurred": blurred, "sizes": sizes}
    try:
        plan = plan_of(configure, truth, rule, **{"stream.seed": seed, "labels.visible": visible})
    except Unplannable:  # a task without a class or an image
        return
    section = BlurrySection(**rule)
    n, home = n_blurry(section, 7), homes(section, 7, seed)
    columns = [int(name[1]) for name in plan.class_names]  # place in the stream -> column of truth
    ordered = truth[:, columns]
    counts = (truth == 1).sum(axis=0)[columns]
    times = np.zeros(len(truth), dtype=int)
    for index, task in enumerate(plan.tasks):
        current = task.of_classes.current
        assert current.tolist() == [*range(n), *(n + np.flatnonzero(home[n:] == index))]
        assert task.columns.tolist() == current.tolist(), "blurry classes are annotated in every task"
        shown = task.values != -1
        assert (task.values[shown] == ordered[np.ix_(task.samples, current)][shown]).all()
        for sample in task.samples:
            owner = min(np.flatnonzero(ordered[sample] == 1), key=lambda column: (counts[column], column))
            if owner >= n or blurred == 0:
                assert home[owner] == index, "an image of a disjoint class comes in its task"
            elif blurred == 1:
                assert home[owner] != index, "moved to another one"
        times[task.samples] += 1
    np.testing.assert_array_equal(times, (truth == 1).any(axis=1))
    again = StreamPlan.from_bytes(plan.to_bytes())
    assert (
        again.sha256
        == plan.sha256
        == plan_of(configure, truth, rule, **{"stream.seed": seed, "labels.visible": visible}).sha256
    )


def test_images_are_moved_with_the_probability_to_each_other_task_alike(configure: Any) -> None:
    truth = np.repeat(np.eye(6, dtype=np.int8), 2000, axis=0)
    plan = plan_of(configure, truth, {"tasks": 3, "disjoint": 0.5, "blurred": 0.3})
    assert plan.class_names == ("c3", "c4", "c5", "c0", "c1", "c2")
    for index, task in enumerate(plan.tasks):
        counts = (truth[task.samples] == 1).sum(axis=0)
        assert counts[:3].tolist() == [2000 * (column == index) for column in range(3)], "disjoint means disjoint"
        expected = [1400 if column == index else 300 for column in range(3)]
        np.testing.assert_allclose(counts[3:], expected, atol=70)
    other = plan_of(configure, truth, {"tasks": 3, "disjoint": 0.5, "blurred": 0.3}, **{"stream.seed": 1})
    assert other.sha256 != plan.sha256


def test_even_and_random_homes() -> None:
    even = BlurrySection(tasks=3, disjoint=0.5, blurred=0.1)
    assert homes(even, 14, 0).tolist() == [0, 0, 0, 1, 1, 2, 2] * 2
    stochastic = BlurrySection(tasks=3, disjoint=0.5, blurred=0.1, sizes="random")
    dealt = np.stack([homes(stochastic, 14, seed) for seed in range(300)])
    assert (np.diff(dealt[:, :7]) >= 0).all()
    assert (np.diff(dealt[:, 7:]) >= 0).all()
    sizes = (dealt[:, :7, None] == np.arange(3)).sum(axis=1)
    assert len(np.unique(sizes, axis=0)) > 20
    np.testing.assert_allclose(sizes.mean(axis=0), 7 / 3, atol=0.5)


@pytest.mark.parametrize("sizes", GOLDEN)
def test_the_shipped_plans_keep_their_hashes(sizes: str) -> None:
    assert load_scenario("digits-blurry", {"stream.blurry.sizes": sizes}).plan().sha256 == GOLDEN[sizes]


def test_the_preview_names_the_classes_that_come_again() -> None:
    scenario = load_scenario("digits-blurry")
    tasks = describe(scenario.plan(), scenario.truth())["tasks"]
    blurry = tasks[1]["returning"]
    assert [task.get("returning", []) for task in tasks] == [[], blurry, blurry, blurry, blurry]
    assert [len(task["classes"]) for task in tasks] == [6, 1, 1, 1, 1]
    assert scenario.config.stream.summary == "blurry 0.5/0.1 x 5"


@pytest.mark.parametrize("key", ["base", "sizes", "increment", "assignment", "repetition"])
def test_what_it_takes_the_place_of_is_refused_beside_it(key: str) -> None:
    value = {"sizes": [10], "assignment": {"disjoint": "first"}, "repetition": {"probability": 0.5}}.get(key, 2)
    with pytest.raises(ScenarioError, match=r"stream\.\w+: .*not together with"):
        load_scenario("digits-blurry", {f"stream.{key}": value})


def test_an_impossible_number_of_tasks_is_one_line() -> None:
    with pytest.raises(ScenarioError, match="task 5 has no class: it brings none, and none comes back"):
        load_scenario(
            "digits-blurry",
            {"stream.blurry": {"tasks": 6, "disjoint": 1.0, "blurred": 0.0}, "dataset.classes": list("01234")},
        ).plan()
    with pytest.raises(ScenarioError, match=r"stream\.blurry\.tasks"):
        load_scenario("digits-blurry", {"stream.blurry.tasks": 1})
