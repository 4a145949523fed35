"""The threshold of a class is the one with the highest F1, found among all that differ."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from clsim.inference.thresholds import Thresholds, choose


def f1(scores: np.ndarray, labels: np.ndarray, threshold: float) -> float:
    known = labels >= 0
    predicted, present = scores[known] > threshold, labels[known] == 1
    return 2 * (predicted & present).sum() / (predicted.sum() + present.sum())


@pytest.mark.parametrize("levels", [3, 1000], ids=["ties", "no ties"])
def test_no_threshold_has_a_higher_f1(levels: int) -> None:
    random = np.random.default_rng(levels)
    scores = random.integers(0, levels + 1, (40, 20)) / levels
    labels = random.choice(np.array([-1, 0, 1], np.int8), (40, 20), p=[0.2, 0.5, 0.3])
    chosen = choose(scores, labels, [str(c) for c in range(20)], "validation images")
    for column, name in enumerate(chosen):
        s, y = scores[:, column], labels[:, column]
        tried = max(f1(s, y, value) for value in [0.0, *s])
        assert f1(s, y, chosen[name]) == pytest.approx(chosen.f1[name]) == pytest.approx(tried)
        assert chosen.positives[name] == (y == 1).sum()


def test_a_class_without_a_positive_has_half() -> None:
    labels = np.array([[0, -1], [0, -1]], np.int8)
    chosen = choose(np.full((2, 2), 0.9), labels, ["a", "b"], "visible training labels")
    assert dict(chosen) == {"a": 0.5, "b": 0.5}
    assert chosen.f1 == {"a": None, "b": None}
    nothing = choose(np.zeros((2, 1)), np.array([[1], [0]], np.int8), ["a"], "validation images")
    assert (nothing["a"], nothing.f1["a"]) == (0.0, 0.0)


def test_neighbouring_numbers_are_told_apart() -> None:
    above = np.nextafter(0.5, 1)
    chosen = choose(np.array([[above], [0.5]]), np.array([[1], [0]], np.int8), ["a"], "validation images")
    assert 0.5 <= chosen["a"] < above


def test_thresholds_say_who_is_present_and_are_read_back() -> None:
    chosen = Thresholds("validation images", 2, {"a": 0.2, "b": 0.8}, {"a": 1.0, "b": None}, {"a": 1, "b": 0})
    frame = pd.DataFrame([[0.3, 0.3], [0.2, 0.9]], columns=["b", "a"], index=["x", "y"])
    assert chosen.present(frame)[["a", "b"]].to_numpy().tolist() == [[True, False], [True, False]]
    assert Thresholds(**chosen.content()).content() == chosen.content()
