"""Online relabelling: what is written into the memory, by which model, and what is never touched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from avalanche.core import SupervisedPlugin

from clsim.errors import StrategyError
from clsim.scenario.plan.task_classes import TaskClasses
from clsim.training.composition import Composition
from clsim.training.memory.relabelling import OnlineRelabelling, relabel
from clsim.training.memory.replay import Replay
from clsim.training.memory.store import GIVEN, Memory
from clsim.vocabulary import UNKNOWN
from tests.fixtures.templates import opened

TASKS = tuple(TaskClasses(*task) for task in ((0, 4), (4, 8), (8, 10)))


def memory_of(template: Any) -> Memory:
    return next(plugin.memory for plugin in template.plugins if isinstance(plugin, Replay))


def relabelling_of(template: Any) -> OnlineRelabelling:
    return next(plugin for plugin in template.plugins if isinstance(plugin, OnlineRelabelling))


def test_scores_above_the_threshold_become_one_and_the_rest_zero() -> None:
    scores = np.array([[0.9, 0.5], [0.3, 0.51]], dtype=np.float32)
    thresholds = np.array([0.8, 0.5], dtype=np.float32)
    np.testing.assert_array_equal(relabel(scores, thresholds), [[1, 0], [0, 1]])


def test_ternary_labels_leave_the_middle_unknown() -> None:
    scores, thresholds = np.array([[0.9], [0.5], [0.1]], dtype=np.float32), np.array([0.8], dtype=np.float32)
    np.testing.assert_array_equal(relabel(scores, thresholds, ternary=True), [[1], [UNKNOWN], [0]])


@pytest.mark.parametrize("spec", ["er+or", "rebll"])
@pytest.mark.parametrize("selection", ["class-balanced", "reservoir"])
def test_given_labels_never_change_and_classes_to_come_are_never_touched(
    build: Any, learn: Any, spec: str, selection: str
) -> None:
    for tasks in (1, 2, 3):
        template = learn(build(spec, options={"selection": selection}), tasks=tasks)
        memory, seen = memory_of(template), TASKS[tasks - 1][1]
        shown = template.benchmark.train_rows.targets(memory.rows).numpy()
        given = memory.provenance == GIVEN
        np.testing.assert_array_equal(given, shown != UNKNOWN)
        np.testing.assert_array_equal(memory.labels[given], shown[given])
        assert (memory.labels[:, seen:] == UNKNOWN).all()
        assert (memory.provenance[:, seen:] == UNKNOWN).all()
        assert (memory.labels[:, :seen] != UNKNOWN).all()


def test_labels_given_beside_the_diagonal_are_kept_too(build: Any, learn: Any) -> None:
    """Where the stream shows all classes nothing is left to relabel."""
    template = learn(build("er+or", overrides={"labels.visible": "full"}))
    memory = memory_of(template)
    np.testing.assert_array_equal(memory.labels, template.benchmark.train_rows.targets(memory.rows).numpy())
    assert (memory.provenance == GIVEN).all()


def test_each_block_is_told_by_the_model_of_its_task(build: Any, learn: Any) -> None:
    """Above the diagonal the model just trained, below it the one before; provenance names the task."""

    class Keep(SupervisedPlugin):
        def __init__(self) -> None:
            super().__init__()
            self.scores: list[np.ndarray] = []

        def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
            store = strategy.benchmark.train_rows
            with opened(store):
                self.scores.append(strategy.probabilities(strategy.model, store, np.arange(len(store._samples))))

    keep = Keep()
    memory = memory_of(learn(build("er+or", last=[keep])))
    for stored in range(3):
        rows = memory.stored_by == stored
        for task, (start, stop, _) in enumerate(TASKS):
            if task == stored:
                assert (memory.provenance[rows, start:stop] == GIVEN).all()
                continue
            model, when = (task, task) if task > stored else (stored - 1, stored)
            expected = keep.scores[model][memory.rows[rows], start:stop]
            np.testing.assert_allclose(memory.labels[rows, start:stop], expected, atol=1e-5)
            assert (memory.provenance[rows, start:stop] == when + 1).all()


def test_a_threshold_above_one_equals_reading_missing_as_negative(build: Any, learn: Any, same_weights: Any) -> None:
    relabelled = learn(build("er+or", options={"threshold": 1.5}))
    assert same_weights(relabelled, learn(build("er", options={"other_classes": "negative"})))
    assert not same_weights(relabelled, learn(build("er")))


def test_the_order_of_the_parts_does_not_matter(build: Any, learn: Any, same_weights: Any) -> None:
    low = {"threshold": 0.3}
    assert same_weights(learn(build("er+or", options=low)), learn(build("or+er", options=low)))
    assert same_weights(learn(build("rebll", options=low)), learn(build("or+akd+er", options=low)))


def test_adaptive_thresholds_come_from_images_that_were_not_trained_on(build: Any, learn: Any) -> None:
    class Rows(SupervisedPlugin):
        def __init__(self) -> None:
            super().__init__()
            self.seen: set[int] = set()

        def before_forward(self, strategy: Any, **kwargs: Any) -> None:
            self.seen |= set(strategy.rows[~strategy.replayed].tolist())

    rows = Rows()
    template = learn(build("er+or", options={"threshold": "adaptive"}, last=[rows]), tasks=1)
    held_out = set(relabelling_of(template).held_out.rows.tolist())
    task = set(template.benchmark.train_stream[0].dataset.rows().tolist())
    assert len(held_out) == max(1, len(task) // 10)
    assert rows.seen == task - held_out


def test_prior_thresholds_fill_a_block_by_the_share_of_images_seen(build: Any, learn: Any) -> None:
    """The share of a class is its positives in its own task, of the rows of all tasks so far."""
    template = learn(build("er+or", options={"threshold": "prior"}, overrides={"memory.budget.per_class": 12}))
    memory, store = memory_of(template), template.benchmark.train_rows
    rows = [experience.dataset.rows() for experience in template.benchmark.train_stream]
    for task in (1, 2):
        columns = slice(*TASKS[task][:2])
        positives = (store.targets(rows[task]).numpy()[:, columns] == 1).sum(axis=0)
        share = positives / sum(len(part) for part in rows[: task + 1])
        block = memory.labels[memory.stored_by == 0, columns]
        np.testing.assert_allclose((block == 1).mean(axis=0), share, atol=1.01 / len(block))


def test_relabelling_leaves_mode_and_generators_alone(build: Any, learn: Any, same_weights: Any) -> None:
    """A threshold that keeps every entry unknown in effect: soft labels read nowhere change nothing."""
    ignored = {"current_classes": "ignore", "other_classes": "ignore"}
    template = learn(build("er+or", options={"threshold": 0.999, "ternary": True, **ignored}))
    assert (memory_of(template).labels == UNKNOWN).any()
    assert same_weights(template, learn(build("er", options=ignored)))


@pytest.mark.parametrize("threshold", ["none", 0.8, "adaptive", "prior"])
def test_a_class_without_an_exemplar_is_relabelled_like_the_others(build: Any, learn: Any, threshold: Any) -> None:
    """One random row a class: some class has no positive in the memory."""
    options, overrides = {"threshold": threshold, "selection": "random"}, {"memory.budget.per_class": 1}
    template = learn(build("rebll", options=options, overrides=overrides))
    memory = memory_of(template)
    positives = [(memory.labels[memory.stored_by == t, slice(*TASKS[t][:2])] == 1).sum(axis=0) for t in range(3)]
    assert (np.concatenate(positives) == 0).any(), positives
    assert (memory.labels != UNKNOWN).all()
    assert all(bool(value.isfinite().all()) for value in template.model.state_dict().values())


def test_ternary_labels_need_a_threshold() -> None:
    with pytest.raises(StrategyError, match=r"ternary needs a threshold, such as 0\.8"):
        Composition("er+or", {"ternary": True})
    assert Composition("er+or", {"ternary": True, "threshold": 0.8}).options()["or"]["ternary"]


def test_or_alone_is_refused_by_name() -> None:
    with pytest.raises(StrategyError, match="or needs a part that brings the memory, such as er"):
        Composition("or")


def test_refreshed_labels_are_the_models_own_and_are_not_stored(build: Any, learn: Any, same_weights: Any) -> None:
    template = learn(build("er", options={"current_classes": "refresh"}))
    memory = memory_of(template)
    shown = template.benchmark.train_rows.targets(memory.rows).numpy()
    np.testing.assert_array_equal(memory.labels, shown)
    assert not same_weights(template, learn(build("er", options={"current_classes": "ignore"})))


@pytest.mark.parametrize("visible", ["task", "full"])
def test_refreshed_labels_fill_only_what_is_unknown_with_the_models_word_at_the_epochs_start(
    build: Any, learn: Any, monkeypatch: pytest.MonkeyPatch, visible: str
) -> None:
    monkeypatch.setattr("clsim.training.memory.replay.REFRESH_THRESHOLD", 0.5)  # low enough for both answers to occur

    class Watch(SupervisedPlugin):
        def __init__(self) -> None:
            super().__init__()
            self.told: list[float] = []

        def before_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
            store = strategy.benchmark.train_rows
            with opened(store):
                self.scores = strategy.probabilities(strategy.model, store, np.arange(len(store._samples)))

        def before_forward(self, strategy: Any, **kwargs: Any) -> None:
            columns = strategy.experience.classes_in_this_experience
            rows = strategy.rows[strategy.replayed].numpy()
            shown = strategy.benchmark.train_rows.targets(rows).numpy()[:, columns]
            said = self.scores[rows][:, columns] > 0.5
            expected = np.where(shown == UNKNOWN, said, shown)
            np.testing.assert_array_equal(strategy.mb_y[strategy.replayed][:, columns].numpy(), expected)
            self.told += expected[shown == UNKNOWN].tolist()

    watch = Watch()
    options, overrides = {"current_classes": "refresh"}, {"labels.visible": visible}
    learn(build("er", options=options, overrides=overrides, last=[watch]))
    assert set(watch.told) == ({0.0, 1.0} if visible == "task" else set())


def test_scores_of_a_large_memory_are_never_in_memory_at_once(
    build: Any, learn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = learn(build("rebll"), tasks=2)
    rows = np.tile(memory_of(trained).rows, 200)
    columns = np.array([1, 5])
    whole = trained.probabilities(trained.model, trained.store, rows)
    blocks: list[int] = []
    scored = trained.scored

    def counted(model: Any, store: Any, rows: Any) -> Any:
        blocks.append(len(rows))
        return scored(model, store, rows)

    monkeypatch.setattr("clsim.training.step.SCORED_AT_ONCE", 1)
    monkeypatch.setattr(trained, "scored", counted)
    found = trained.probabilities(trained.model, trained.store, rows, columns)
    np.testing.assert_array_equal(found, whole[:, columns], strict=True)
    assert len(blocks) > 1
    assert max(blocks) == 64 * trained.eval_mb_size
