"""AGCN: its head against the formulas written out, growth, and class vectors of a file."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu

from clsim.models.label_graph import LabelGraphHead
from clsim.training.composition import Composition


def grown(*n_classes: int) -> LabelGraphHead:
    torch.manual_seed(0)
    head = LabelGraphHead(6, 0, ["cat", "dog", "hen", "pig", "cow"], width=8)
    for number in n_classes:
        head.grow(number)
    return head


def by_the_formulas(head: LabelGraphHead, image: Tensor) -> Tensor:
    """Logits of one image [N, d], node by node."""
    nodes = range(head.n_classes)
    e, p = head.vectors, head.matrix
    first = [leaky_relu(head.first.weight @ sum(p[i, j] * e[j] for j in nodes), 0.2) for i in nodes]
    h = [head.second.weight @ sum(p[i, j] * first[j] for j in nodes) for i in nodes]
    f = torch.stack([max(image[:, k]) for k in range(image.shape[1])])
    return torch.stack([h[i] @ f for i in nodes])


def test_the_head_is_its_formulas_on_a_map_and_on_patch_tokens() -> None:
    head, maps = grown(2, 5), torch.randn(2, 6, 2, 3)
    head.matrix.copy_(torch.rand(5, 5))
    patches = maps.flatten(2).transpose(1, 2)
    for image, logits in zip(patches, head(maps), strict=True):
        torch.testing.assert_close(logits, by_the_formulas(head, image), rtol=1e-4, atol=1e-5)
    assert torch.equal(head(patches), head(maps))


def test_growth_keeps_graph_and_vectors_and_new_classes_are_single_nodes() -> None:
    head, maps = grown(2), torch.randn(2, 6, 2, 3)
    head.matrix.copy_(torch.rand(2, 2))
    before = copy.deepcopy(head)
    head.grow(5)
    assert torch.equal(head.matrix[:2, :2], before.matrix)
    assert torch.equal(head.matrix[2:], torch.eye(5)[2:])
    assert torch.equal(head.vectors[:2], before.vectors)
    torch.testing.assert_close(head(maps)[:, :2], before(maps))  # nothing links them yet
    other = LabelGraphHead(6, 0, ["cow", "cat"], width=8)
    other.grow(2)
    assert torch.equal(other.vectors, head.vectors[[4, 0]])  # by the name, not by the order


def test_class_vectors_of_a_file_set_the_width(tmp_path: Path, build: Any, learn: Any) -> None:
    template = build("finetune")
    names = template.model.class_names
    file = tmp_path / "glove.txt"
    file.write_text("".join(f"{name} {number} 0.5 -1\n" for number, name in enumerate(names)))
    options = {"width": 8, "vectors": str(file)}
    template = learn(build("agcn", options=options), tasks=2)
    expected = torch.tensor([[number, 0.5, -1] for number in range(8)])
    assert torch.equal(template.model.head.vectors, expected)
    assert Composition("agcn", options).first_task_key() is None
    assert Composition("agcn").first_task_key() == Composition("agcn", {"alpha": 0.5, "graph": 1.0}).first_task_key()


def test_it_runs_on_cached_maps(build: Any, learn: Any) -> None:
    cached = {"training.model.freeze": "backbone", "training.model.cache_features": "maps"}
    template = learn(build("agcn+er", options={"width": 8}, overrides=cached), tasks=2)
    assert template.model.growth == [4, 8]
    assert not template.model.head.matrix.equal(torch.eye(8))
