"""Pseudo-labels: which entries they fill, by which model and threshold, and what is handed in to be judged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from avalanche.core import SupervisedPlugin

from clsim.training.class_thresholds import searched
from clsim.training.pseudo_labels import PseudoLabels


class Batches(SupervisedPlugin):
    """Records targets before and after the pseudo-labels, and what the teacher says."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[dict[str, Any]] = []

    def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        self.given = strategy.mb_y.clone()

    def after_forward(self, strategy: Any, **kwargs: Any) -> None:
        labels = labels_of(strategy)
        teacher = labels.snapshot.model
        with torch.no_grad():
            q = None if teacher is None else teacher(strategy.mb_x).sigmoid()
        self.steps.append(
            {
                "task": strategy.position.task,
                "given": self.given,
                "y": strategy.mb_y.clone(),
                "q": q,
                "replayed": strategy.replayed.clone(),
                "distillable": strategy.distillable.clone(),
                "thresholds": torch.from_numpy(labels.thresholds.copy()),
            }
        )


class Written(SupervisedPlugin):
    """What is handed in after each task, and the model then."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[Any] = []

    def after_training(self, strategy: Any, **kwargs: Any) -> None:
        labels = labels_of(strategy)
        self.tasks.append(labels._written)


def labels_of(template: Any) -> PseudoLabels:
    return next(plugin for plugin in template.plugins if isinstance(plugin, PseudoLabels))


LOW = {"pseudo.rule": "fixed", "pseudo.threshold": 0.45}


@pytest.mark.parametrize("rest", ["negative", "ignore", "distil"])
def test_unknown_old_classes_of_new_rows_are_filled_and_nothing_else(build: Any, learn: Any, rest: str) -> None:
    batches = Batches()
    spec = "pseudo+lwf+er" if rest == "distil" else "pseudo+er"
    learn(build(spec, options={**LOW, "pseudo.rest": rest}, last=[batches]), tasks=2)
    written = 0
    for step in batches.steps:
        new, y, given = ~step["replayed"], step["y"], step["given"]
        if step["task"] == 0:
            assert torch.equal(y, given)
            continue
        filled = given[new].clone()
        present = step["q"][new] > step["thresholds"][:4]
        filled[:, :4] = torch.where(present, 1.0, 0.0 if rest == "negative" else -1.0)
        assert (given[new][:, :4] == -1).all()
        assert torch.equal(y[new], filled)
        assert step["distillable"][new].all() == (rest != "ignore")
        old_rows = step["replayed"]
        assert torch.equal(y[old_rows][:, :4], given[old_rows][:, :4]) or not old_rows.any()
        written += int(present.sum())
    assert written


def test_rows_of_a_memory_are_filled_if_told(build: Any, learn: Any) -> None:
    counts = {}
    for rows in ("new", "all"):
        batches = Batches()
        options = {**LOW, "pseudo.rows": rows}
        learn(build("pseudo+er", options=options, overrides={"memory.budget.per_class": 9}, last=[batches]))
        last = [step for step in batches.steps if step["task"] == 2]
        counts[rows] = sum(int((step["y"][step["replayed"]][:, :8] < 0).sum()) for step in last)
    assert counts["all"] == 0 < counts["new"]


@pytest.mark.parametrize("more", ["", "+er"])
def test_above_one_it_reads_old_classes_as_absent_to_the_last_bit(
    build: Any, learn: Any, same_weights: Any, more: str
) -> None:
    never = {"pseudo.rule": "fixed", "pseudo.threshold": 1.5}
    negative = learn(build(f"finetune{more}", options={"old_classes": "negative"}))
    assert same_weights(learn(build(f"pseudo{more}", options=never)), negative)
    assert not same_weights(learn(build(f"pseudo{more}", options=LOW)), negative)


def test_without_labels_the_rest_is_ignored_or_distilled_as_ever(build: Any, learn: Any, same_weights: Any) -> None:
    never = {"pseudo.rule": "fixed", "pseudo.threshold": 1.5}
    ignored = learn(build("pseudo", options=never | {"rest": "ignore"}))
    assert same_weights(ignored, learn(build("finetune")))
    distilled = learn(build("pseudo+akd", options=never | {"rest": "distil"}))
    assert same_weights(distilled, learn(build("akd")))


def test_the_dynamic_threshold_is_searched_before_each_task(build: Any, learn: Any) -> None:
    batches = Batches()
    template = learn(build("pseudo", options={"rule": "dynamic"}, last=[batches]), tasks=2)
    labels, store = labels_of(template), template.benchmark.train_rows
    first, second = (experience.dataset.rows() for experience in template.benchmark.train_stream[:2])
    positives = (store.targets(first).numpy()[:, :4] == 1).sum()
    scores = template.probabilities(labels.snapshot.model, store, second)
    found = searched(scores, positives / (len(first) + len(second)), 0.8)
    assert {float(step["thresholds"][0]) for step in batches.steps if step["task"]} == {np.float32(found.threshold)}
    assert labels.report([]) == {
        "pseudo/threshold": found.threshold,
        "pseudo/ones_per_row": found.per_row,
        "pseudo/search_settled": float(found.settled),
    }
    given = build("pseudo", options={"labels_per_image": 2.0})
    assert labels_of(given)._target(np.arange(4)) == pytest.approx(2.0 * 4 / 10)


def test_thresholds_of_positives_are_of_the_model_just_trained(build: Any, learn: Any) -> None:
    template = learn(build("pseudo", options={"rule": "recall"}), tasks=1)
    labels, store = labels_of(template), template.benchmark.train_rows
    rows = template.benchmark.train_stream[0].dataset.rows()
    scores = template.probabilities(template.model, store, rows)
    targets = store.targets(rows).numpy()[:, :4]
    expected = [scores[targets[:, column] == 1, column].mean() for column in range(4)]
    np.testing.assert_allclose(labels.thresholds[:4], expected, rtol=1e-6)
    np.testing.assert_array_equal(labels.thresholds[4:], np.float32(0.8))


@pytest.mark.parametrize("rest", ["negative", "ignore"])
def test_what_it_wrote_is_handed_in_after_each_task_and_compared_with_the_truth(
    build: Any, learn: Any, rest: str
) -> None:
    written = Written()
    values: dict[str, float] = {}

    class Values:
        """A logger that keeps the last value of each name."""

        def log_metrics(self, metrics: Any) -> None:
            values.update({metric.name: metric.value for metric in metrics})

    template = build("pseudo", options={**LOW, "pseudo.rest": rest}, last=[written], loggers=[Values()])
    learn(template)
    assert len(written.tasks[0][0]) == 0
    for task, old in ((1, 4), (2, 8)):
        rows, columns, ones = written.tasks[task]
        of_task = template.benchmark.train_stream[task].dataset.rows()
        assert set(rows) <= set(of_task)
        assert set(columns) <= set(range(old))
        assert len(rows) == len(of_task) * old if rest == "negative" else (ones == 1).all()
    assert values["written/PseudoLabels_entries"] == len(written.tasks[2][0]) > 0
    assert 0 < values["written/PseudoLabels_precision"] <= 100


def test_the_held_out_tenth_is_shared(build: Any, learn: Any) -> None:
    """Two parts that judge classes on it look at the same rows, and the others are all trained on."""
    batches = Batches()
    options = {"pseudo.rule": "f1", "or.threshold": "f1", "current_classes": "ignore", "replay": "paired"}
    template = learn(build("pseudo+er+or", options=options, last=[batches]), tasks=1)
    rows = len(template.benchmark.train_stream[0].dataset)
    assert sum(len(step["y"]) for step in batches.steps) == 2 * (rows - rows // 10)
    other = next(plugin for plugin in template.plugins if type(plugin).__name__ == "OnlineRelabelling")
    np.testing.assert_array_equal(other.thresholds[:4], labels_of(template).thresholds[:4])
