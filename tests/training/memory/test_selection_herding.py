"""Herding: prefixes of a class's rows whose mean feature is the class's mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clsim.scenario.plan.task_classes import TaskClasses
from clsim.training.memory.replay import Replay
from clsim.training.memory.selection import HerdingSelection
from clsim.training.memory.store import Budget, Memory


def ranked(labels: NDArray[np.float32], features: NDArray[np.float32], count: int | None = None) -> list[int]:
    return HerdingSelection().rank(labels, 0, 0, len(labels) if count is None else count, features).tolist()


def unit(features: NDArray[np.float32]) -> NDArray[np.float64]:
    return features / np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 12), st.integers(0, 99))
def test_of_one_class_each_row_is_the_best_that_could_follow(n: int, seed: int) -> None:
    features = np.random.default_rng(seed).normal(size=(n, 4)).astype(np.float32)
    points = unit(features)
    order = ranked(np.ones((n, 1), dtype=np.float32), features)
    for place in range(n):
        distances = {
            row: np.linalg.norm(points[[*order[:place], row]].mean(axis=0) - points.mean(axis=0))
            for row in set(range(n)) - set(order[:place])
        }
        assert distances[order[place]] <= min(distances.values()) + 1e-9


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 60), st.integers(1, 40), st.integers(0, 99))
def test_the_order_is_that_of_the_distances_themselves_equal_rows_too(n: int, distinct: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(distinct, 7)).astype(np.float32)[rng.integers(distinct, size=n)]
    points = unit(features)
    mean, total, expected = points.mean(axis=0), np.zeros(7), []
    for count in range(1, n + 1):
        distances = (((total + points) / count - mean) ** 2).sum(axis=1)
        distances[expected] = np.inf
        expected.append(int(distances.argmin()))
        total = total + points[expected[-1]]
    assert ranked(np.ones((n, 1), dtype=np.float32), features) == expected


def test_length_of_a_feature_does_not_count() -> None:
    features = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    scaled = features * np.geomspace(0.1, 10, 10, dtype=np.float32)[:, None]
    labels = np.ones((10, 1), dtype=np.float32)
    assert ranked(labels, scaled) == ranked(labels, features)


def test_a_row_in_the_middle_of_its_class_comes_first_and_an_outlier_last() -> None:
    angles = np.array([-0.4, -0.2, 0.0, 0.2, 0.4, 2.5])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    order = ranked(np.ones((6, 1), dtype=np.float32), features)
    assert order[0] in (3, 4)  # nearest to the mean direction, which the outlier pulls upwards
    assert 5 not in order[:3]


def test_classes_take_turns_the_rarest_first_and_a_row_is_taken_once() -> None:
    labels = np.zeros((9, 2), dtype=np.float32)
    labels[:6, 0] = 1
    labels[4:8, 1] = 1  # rows 4 and 5 show both; row 8 shows none
    features = np.random.default_rng(1).normal(size=(9, 3)).astype(np.float32)
    order = ranked(labels, features)
    assert sorted(order) == list(range(9))
    assert labels[order[0], 1] == 1
    assert labels[order[1], 0] == 1
    assert order[-1] == 8


def test_it_looks_at_no_more_rows_than_are_wanted() -> None:
    labels, features = np.ones((50, 2), dtype=np.float32), np.random.default_rng(2).normal(size=(50, 3))
    wanted = ranked(labels, features.astype(np.float32), count=7)
    assert wanted[:7] == ranked(labels, features.astype(np.float32))[:7]


def test_without_features_it_refuses() -> None:
    memory = Memory(Budget(per_class=2), HerdingSelection(), (TaskClasses(0, 2),), 0)
    with pytest.raises(ValueError, match="needs the features"):
        memory.update(0, np.arange(4), np.ones((4, 2), dtype=np.float32))


def test_in_a_run_the_features_are_those_of_the_model_just_trained(build: Any, learn: Any) -> None:
    template = learn(build("er", options={"selection": "herding"}), tasks=1)
    memory = next(plugin for plugin in template.plugins if isinstance(plugin, Replay)).memory
    rows = template.benchmark.train_stream[0].dataset.rows()
    images = template.benchmark.train_rows.images(rows)
    features = template.model.eval().trunk(images).detach().numpy()
    labels = template.benchmark.train_rows.targets(rows).numpy()[:, :4]
    order = HerdingSelection().rank(labels, 0, 0, len(memory), features)
    assert len(memory)
    assert memory.rows.tolist() == rows[order[: len(memory)]].tolist()
