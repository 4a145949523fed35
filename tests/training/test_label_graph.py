"""The graph of AGCN: its four blocks on the worked example, and what a run writes."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from clsim.training.label_graph import GraphOptions, binarised, blocks, held, normalised, statistics
from clsim.training.plugin import Plugin
from clsim.training.snapshot import Snapshot

LABELS = np.array([[1, 1], [1, 0], [0, 1], [1, 1]], dtype=np.float64)
SOFT = np.array([[0.8, 0.1], [0.2, 0.3], [0.5, 0.5], [0.1, 0.9]])
PUBLISHED = GraphOptions(threshold=0.4, cross_threshold=0.3, first_threshold=0.4, halve=False)


def test_the_statistics_of_the_worked_example() -> None:
    found = statistics(LABELS, SOFT)
    np.testing.assert_allclose(found.new_new, [[0, 2 / 3], [2 / 3, 0]])
    np.testing.assert_allclose(found.old_new, [[0.366667, 0.466667], [0.433333, 0.5]], atol=1e-6)
    np.testing.assert_allclose(found.new_old, [[0.6875, 0.722222], [0.875, 0.833333]], atol=1e-6)


def test_the_blocks_of_the_worked_example() -> None:
    new_new, old_new, new_old = blocks(statistics(LABELS, SOFT), PUBLISHED)
    np.testing.assert_allclose(new_new, [[0.8, 0.2], [0.2, 0.8]])
    np.testing.assert_allclose(old_new, np.full((2, 2), 0.125))
    np.testing.assert_allclose(new_old, np.full((2, 2), 0.125))
    few = GraphOptions(threshold=0.7, cross_threshold=0.4, first_threshold=0.4, halve=True)
    new_new, old_new, new_old = blocks(statistics(LABELS, SOFT), few)
    np.testing.assert_allclose(new_new, np.eye(2))
    np.testing.assert_allclose(old_new, [[0, 0.125], [0.25, 0.125]])
    np.testing.assert_allclose(new_old, [[0, 0], [0.25, 0.25]])  # halves: .34375 .361111, .4375 .416667


def test_the_first_task_has_its_own_numbers_and_a_threshold_of_zero_links_all() -> None:
    found = statistics(LABELS, np.zeros((4, 0)))
    of_row = 1.28**-0.8
    expected = of_row**2 * np.array([[1, 0.28], [0.28, 1]])
    np.testing.assert_allclose(blocks(found, PUBLISHED)[0], expected)
    assert blocks(found, PUBLISHED)[1].shape == (0, 2)
    np.testing.assert_allclose(binarised(found.new_new, 0.0, 0.28), np.full((2, 2), 0.14))
    np.testing.assert_allclose(normalised(np.zeros((3, 3)), 0.5), np.eye(3))


def test_classes_without_positives_are_linked_to_none() -> None:
    found = statistics(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[1.0, 0.0], [1.0, 0.0]]))
    assert np.isfinite(found.new_old).all()
    for block in blocks(found, PUBLISHED):
        assert np.isfinite(block).all()
    np.testing.assert_allclose(blocks(found, PUBLISHED)[0], np.eye(2))


def test_old_classifiers_are_held_as_published_and_no_tighter_where_features_are_few() -> None:
    student, teacher = torch.tensor([[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]]), torch.tensor([[1.0, 4.0]])
    assert float(held(student, teacher)) == 2 * (0 + 4) / 2048
    torch.manual_seed(0)
    student, teacher = torch.randn(5, 2048), torch.randn(3, 2048)
    published = torch.nn.functional.mse_loss(student[:3], teacher)
    torch.testing.assert_close(held(student, teacher), 2 * published)


class Graphs(Plugin):
    """Notes graph, loss and classifiers of each task."""

    def __init__(self) -> None:
        super().__init__()
        self.matrices: list[Tensor] = []
        self.heads: list[Any] = []
        self.terms: list[tuple[int, float]] = []

    def before_training_exp(self, learner: Any, **kwargs: Any) -> None:
        self.matrices.append(learner.model.head.matrix.clone())
        teacher = learner.find_plugin(Snapshot).model
        if teacher is not None:
            rows = learner.experience.dataset.rows()
            self.labels = (learner.store.targets(rows).numpy()[:, 4:8] == 1).astype(float)
            logits = learner.scored(teacher, learner.store, rows).astype(float)
            self.soft = torch.from_numpy(logits).softmax(1).numpy()

    def after_backward(self, learner: Any, **kwargs: Any) -> None:
        if "graph" in learner._terms:
            self.terms.append((learner.position.task, float(learner._terms["graph"])))

    def after_training_exp(self, learner: Any, **kwargs: Any) -> None:
        self.heads.append(copy.deepcopy(learner.model.head))


def test_a_run_writes_the_blocks_of_visible_labels_once_and_keeps_those_of_old_classes(build: Any, learn: Any) -> None:
    graphs = Graphs()
    learn(build("agcn+er", options={"width": 8}, last=[graphs]), tasks=2)
    first, second = graphs.matrices
    found = blocks(statistics(graphs.labels, graphs.soft), PUBLISHED)
    new_new, old_new, new_old = (torch.from_numpy(block).float() for block in found)
    assert torch.equal(second[:4, :4], first)
    torch.testing.assert_close(second[4:, 4:], new_new)
    torch.testing.assert_close(second[:4, 4:], old_new)
    torch.testing.assert_close(second[4:, :4], new_old)
    assert torch.equal(graphs.heads[1].matrix, second)  # nothing is learned of it
    assert {task for task, _ in graphs.terms} == {1}
    assert max(term for _, term in graphs.terms) > 0


@pytest.mark.parametrize("weight", [0.0, 3.0])
def test_the_term_is_weight_times_what_is_held(build: Any, learn: Any, weight: float) -> None:
    graphs = Graphs()
    options = {"width": 8, "graph": weight, "alpha": 0.5}
    learn(build("agcn", options=options, last=[graphs]), tasks=2)
    if not weight:
        assert not graphs.terms
        return
    before, after = graphs.heads
    grown = copy.deepcopy(before)
    grown.grow(8)
    grown.matrix.copy_(graphs.matrices[1])
    expected = weight / 0.5 * float(held(grown.classifiers(), before.classifiers()).detach())
    assert graphs.terms[0][1] == pytest.approx(expected, rel=1e-4)
    assert not torch.equal(after.classifiers()[:4], before.classifiers())
