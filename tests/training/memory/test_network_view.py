"""What a selection may ask of the network: answers on rows by their positions, stored and new."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from clsim.training.memory.network_view import NetworkView
from clsim.training.memory.replay import Replay

AUGMENTED = {"training.augmentation": {"flip": 0.5, "cutout": 0.5}}


def view_of(template: Any) -> tuple[NetworkView, Any]:
    replay = template.find_plugin(Replay)
    return NetworkView(template, replay.store, replay.memory), replay.memory


def test_answers_are_of_the_rows_asked_for(build: Any, learn: Any) -> None:
    template = learn(build("er", overrides=AUGMENTED), tasks=2)
    view, memory = view_of(template)
    positions = np.array([5, 0, 2])
    logits = view.logits(positions)
    model, store = template.model, template.store
    assert np.array_equal(logits, template.scored(model, store, memory.rows[positions]))
    assert np.array_equal(view.features(positions), template.scored(model.trunk, store, memory.rows[positions]))
    assert np.allclose(view.probabilities(positions, np.array([1])), 1 / (1 + np.exp(-logits[:, [1]])))
    z, y = torch.from_numpy(logits), torch.from_numpy(memory.labels[positions])[:, : logits.shape[1]]
    entries = torch.nn.functional.binary_cross_entropy_with_logits(z, y.clamp_min(0), reduction="none")
    assert np.allclose(view.losses(positions), (entries * (y >= 0)).sum(1), atol=1e-5)


def test_features_are_vectors_where_the_head_reads_the_map(build: Any, learn: Any) -> None:
    """As `choose` gets them of a whole task: herding of portions compares the same things."""
    template = learn(build("krt+er", options={"width": 16, "heads": 2}), tasks=1)
    view, memory = view_of(template)
    features = view.features(np.arange(4))
    assert features.ndim == 2
    assert np.array_equal(features, template.scored(template.model.pooled, template.store, memory.rows[:4]))


def test_head_gradients_are_those_of_a_backward_pass(build: Any, learn: Any) -> None:
    template = learn(build("er", overrides={"labels.visible.keep": 0.7}), tasks=2)
    view, memory = view_of(template)
    positions, model = np.array([5, 0, 2]), template.model.eval()
    errors, inputs = view.head_gradients(positions)
    for row, error, given in zip(positions, errors, inputs, strict=True):
        logits = template.logits(model, template.store.images(memory.rows[[row]], template.device))
        loss = template.loss_of(logits, torch.from_numpy(memory.labels[[row]]))
        weight, bias = torch.autograd.grad(loss, [model.head.weight, model.head.bias])
        found = np.outer(error, given)
        assert np.allclose(found[:, :-1], weight.numpy(), atol=1e-5)
        assert np.allclose(found[:, -1], bias.numpy(), atol=1e-6)
        assert np.abs(found).max() > 1e-3


def test_passes_over_changed_images_differ_from_each_other_but_not_from_themselves(build: Any, learn: Any) -> None:
    template = learn(build("er", overrides=AUGMENTED), tasks=1)
    view, memory = view_of(template)
    everything, before = np.arange(len(memory)), torch.get_rng_state()
    first, second = view.augmented_logits(everything, 2)
    assert not np.array_equal(first, second)
    assert np.array_equal(first, next(view.augmented_logits(everything, 1)))
    assert torch.equal(torch.get_rng_state(), before)
    template = learn(build("er"), tasks=1)
    view, memory = view_of(template)
    assert np.array_equal(next(view.augmented_logits(everything, 1)), view.logits(everything))


class Asks:
    """A selection that prefers rows of a low loss, stored or new."""

    needs_features = False

    def choose(self, memory: Any, task: int, features: Any = None) -> Any:
        self.losses = memory.view.losses(np.arange(len(memory)))
        assert len(self.losses) == len(memory) >= memory.offered
        return np.argsort(self.losses, kind="stable")[: memory.budget.of_all(memory.tasks[task].stop)]


def test_a_selection_may_ask_about_stored_and_new_rows_while_it_chooses(build: Any, learn: Any) -> None:
    template = build("er")
    memory = template.find_plugin(Replay).memory
    memory.selection = Asks()
    learn(template, tasks=2)
    assert memory.view is None
    assert len(memory) == 24


class LeavesOut:
    """Leaves out every second row, and sees that none of them is trained on."""

    def __init__(self) -> None:
        self.trained: set[int] = set()

    def memory_updated(self, strategy: Any, replay: Replay, **kwargs: Any) -> None:
        replay.memory.left_out = replay.memory.rows % 2 == 0

    def before_forward(self, strategy: Any, **kwargs: Any) -> None:
        self.trained |= set(strategy.rows[strategy.replayed].tolist())


def test_rows_left_out_are_stored_but_not_trained_on(build: Any, learn: Any) -> None:
    for mode in ("concat", "paired"):
        watch = LeavesOut()
        template = learn(build("er", options={"replay": mode}, last=[watch]))
        memory = template.find_plugin(Replay).memory
        assert watch.trained
        assert all(row % 2 for row in watch.trained)
        assert {row % 2 for row in memory.rows.tolist()} == {0, 1}
