"""CSC: its graph head against the formulas written out, what growth may change, and the balance of its two terms."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import leaky_relu

from clsim.models.class_graph import ClassGraphHead
from clsim.training.losses.binary import balanced_distillation, masked_bce, sigmoid_distillation
from tests.strategies.test_krt import Terms


def grown(*n_classes: int) -> ClassGraphHead:
    torch.manual_seed(0)
    head = ClassGraphHead(6, 0, width=8)
    for number in n_classes:
        head.grow(number)
    head.norm.running_mean.normal_()
    return head.eval()


def by_the_formulas(head: ClassGraphHead, image: Tensor) -> list[tuple[Tensor, Tensor]]:
    """z1 and z2 of each class of one image [N, d], node by node."""
    n_classes = range(head.n_classes)
    m = [image @ head.classes[c] for c in n_classes]
    x = image @ head.project.weight.T + head.project.bias
    v0 = [sum(a * row for a, row in zip(m[c].softmax(0), x, strict=True)) for c in n_classes]
    mixed = [leaky_relu(sum(head.graph[c, k] * v0[k] for k in n_classes), 0.2) for c in n_classes]
    v1 = [v0[c] + leaky_relu(head.general(mixed[c]), 0.2) for c in n_classes]
    mean = sum(v1) / len(v1)
    summary = leaky_relu(head.norm(head.summary(mean)[None])[0], 0.2)
    joined = [torch.cat([summary, node]) for node in v1]
    b = [[(head.relations[c] @ joined[k] + head.relations_bias[c]).sigmoid() for k in n_classes] for c in n_classes]
    found = []
    for c in n_classes:
        answer = leaky_relu(sum(b[k][c] * v1[k] for k in n_classes), 0.2)
        v2 = leaky_relu(head.specific(answer), 0.2)
        found.append((m[c].max(), head.rows[c] @ (v0[c] + v2) + head.rows_bias[c]))
    return found


@pytest.mark.parametrize("n_classes", [(1,), (2, 5)], ids=str)
def test_the_head_is_its_formulas(n_classes: tuple[int, ...]) -> None:
    head, maps = grown(*n_classes), torch.randn(2, 6, 2, 3)
    for image, logits in zip(maps.flatten(2).transpose(1, 2), head(maps), strict=True):
        expected = torch.stack([(one + two) / 2 for one, two in by_the_formulas(head, image)])
        torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


def test_the_order_of_the_classes_does_not_matter() -> None:
    head, maps, order = grown(5), torch.randn(2, 6, 2, 3), torch.tensor([3, 0, 4, 1, 2])
    other = copy.deepcopy(head)
    for name in ("classes", "relations", "relations_bias", "rows", "rows_bias"):
        getattr(other, name).data = getattr(head, name).data[order]
    other.graph.data = head.graph.data[order][:, order]
    torch.testing.assert_close(other(maps), head(maps)[:, order], rtol=1e-5, atol=1e-6)


def test_growth_keeps_what_is_of_earlier_classes_and_new_nodes_speak_to_them() -> None:
    head, image = grown(2), torch.randn(6, 6)
    before, logits = copy.deepcopy(head), by_the_formulas(head, image)
    head.grow(5)
    assert torch.equal(head.classes[:2], before.classes)
    assert torch.equal(head.graph[:2, :2], before.graph)
    assert torch.equal(head.rows[:2], before.rows)
    assert torch.equal(head.relations[:2], before.relations)
    for (z1, z2), (old_z1, old_z2) in zip(by_the_formulas(head, image)[:2], logits, strict=True):
        assert torch.equal(z1, old_z1)
        assert not torch.equal(z2, old_z2)


def test_the_two_terms_are_the_published_means_up_to_one_factor() -> None:
    student, teacher, y = torch.randn(4, 7), torch.randn(4, 5), torch.randint(0, 2, (4, 7)).float()
    y[:, :5] = -1
    alpha = 0.3
    ours = masked_bce(student, y) + balanced_distillation(student, teacher, y[:, :5] < 0, alpha)
    entries = torch.nn.functional.binary_cross_entropy_with_logits
    published = alpha * entries(student[:, 5:], y[:, 5:]) + (1 - alpha) * entries(student[:, :5], teacher.sigmoid())
    torch.testing.assert_close(ours, published * 2 / alpha)
    none = torch.zeros_like(y[:, :5], dtype=torch.bool)
    assert float(sigmoid_distillation(student, teacher, none)) == 0


def test_what_grows_learns(build: Any, learn: Any) -> None:
    terms = Terms()
    learn(build("csc+er", options={"width": 8}, last=[terms]), tasks=2)
    first, second = terms.heads
    assert first["graph"].shape == (4, 4)
    assert second["graph"].shape == (8, 8)
    drawn = ClassGraphHead(64, 0, width=8)
    drawn.grow(4)
    drawn.grow(8)
    for name in ("classes", "graph", "relations", "rows"):
        assert not torch.equal(second[name][4:], drawn.state_dict()[name][4:])
        assert not torch.equal(second[name][:4, :4], first[name][:4, :4])
