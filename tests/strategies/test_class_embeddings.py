"""Class embeddings: the head against the formulas written out, what growth freezes, and HCP and KBK as compositions."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm

from clsim.errors import StrategyError
from clsim.models.class_embeddings import ClassEmbeddingHead
from clsim.training.composition import Composition
from tests.strategies.test_krt import Terms

SMALL = {"class-embeddings.width": 8, "class-embeddings.heads": 2}


def grown(*n_classes: int, width: int | None = 8) -> ClassEmbeddingHead:
    torch.manual_seed(0)
    head = ClassEmbeddingHead(6, 0, width=width, depth=2, heads=2)
    for number in n_classes:
        head.grow(number)
    with torch.no_grad():  # so that no part of the formulas is near 0
        for parameter in head.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=head.generator("test", *parameter.shape)))
    return head


def by_the_formulas(head: ClassEmbeddingHead, image: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs and logits of one image [N, d], position by position and head by head."""
    f = image @ head.project.weight.T + head.project.bias if head.width != 6 else image
    x = torch.cat([f, *head.embeddings])
    for block in head.blocks:
        a = layer_norm(x, (head.width,), block.norm1.weight, block.norm1.bias)
        q, k, v = (a @ part.weight.T + part.bias for part in (block.query, block.key, block.value))
        seen = []
        for i in range(len(x)):
            parts = []
            for columns in torch.arange(head.width).chunk(2):
                scores = torch.stack([q[i, columns] @ k[j, columns] for j in range(len(x))])
                weights = (scores / (head.width / 2) ** 0.5).softmax(0)
                parts.append(sum(weights[j] * v[j, columns] for j in range(len(x))))
            seen.append(torch.cat(parts))
        x = x + torch.stack(seen) @ block.out.weight.T + block.out.bias
        b = layer_norm(x, (head.width,), block.norm2.weight, block.norm2.bias)
        x = x + gelu(b @ block.mlp[0].weight.T + block.mlp[0].bias) @ block.mlp[2].weight.T + block.mlp[2].bias
    o = x[len(image) :]
    w, bias = torch.cat([*head.rows]), torch.cat([*head.biases])
    return o, torch.stack([w[c] @ o[c] + bias[c] for c in range(len(o))])


@pytest.mark.parametrize("width", [8, None])
def test_the_head_is_its_formulas_on_a_map_and_on_patch_tokens(width: int | None) -> None:
    head, maps = grown(2, 5, width=width), torch.randn(2, 6, 2, 3)
    patches = maps.flatten(2).transpose(1, 2)
    tokens, logits = head.tokens(maps), head(maps)
    for place, image in enumerate(patches):
        o, z = by_the_formulas(head, image)
        torch.testing.assert_close(tokens[place], o, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(logits[place], z, rtol=1e-4, atol=1e-5)
    assert torch.equal(head(patches), logits)
    expected = tokens @ head.unknown.weight[0] + head.unknown.bias
    torch.testing.assert_close(head.of_unknown(tokens), expected)


def test_growth_freezes_what_is_of_earlier_classes_and_draws_the_unknown_unit_anew() -> None:
    head = grown(2)
    before = copy.deepcopy(head)
    head.grow(5)
    merged = {f"{name}.0" for name in ("embeddings", "rows", "biases")}
    assert {name for name, parameter in head.named_parameters() if not parameter.requires_grad} == merged
    assert all(torch.equal(head.state_dict()[name], before.state_dict()[name]) for name in merged)
    assert head.embeddings[1].shape == (3, 8)
    assert not torch.equal(head.unknown.weight, before.unknown.weight)
    assert not head.unknown.bias.any()
    maps = torch.randn(1, 6, 2, 3)
    assert not torch.equal(head(maps)[:, :2], before(maps))  # they attend to the new ones
    at_once = ClassEmbeddingHead(6, 0, width=8, heads=2)
    at_once.grow(5)
    assert torch.equal(at_once.embeddings[0][2:], head.embeddings[1])


def test_a_run_leaves_earlier_embeddings_and_trains_the_unknown_unit(build: Any, learn: Any) -> None:
    terms = Terms()
    template = learn(build("kbk+er", options={**SMALL, "pseudo.threshold": 0.45}, last=[terms]))
    first, second, last = terms.heads
    for name in ("embeddings", "rows", "biases"):
        assert torch.equal(first[f"{name}.0"], last[f"{name}.0"])
        assert torch.equal(second[f"{name}.1"], last[f"{name}.1"])
    assert [len(last[f"biases.{task}"]) for task in range(3)] == [4, 4, 2]
    for head, start in zip(terms.heads, (0, 4, 8), strict=True):
        drawn = template.model.head._drawn("unknown", start)
        assert not torch.equal(head["unknown.weight"], drawn)
    assert not torch.equal(first["blocks.0.query.weight"], last["blocks.0.query.weight"])


def test_the_presets_are_their_papers_parts() -> None:
    kbk, hcp = Composition("kbk").options(), Composition("hcp+er").options()
    assert list(kbk) == ["class-embeddings", "pseudo", "cgc"]
    assert (kbk["class-embeddings"]["unknown"], kbk["pseudo"]["rule"]) == ("similar", "uncertain")
    assert list(hcp) == ["class-embeddings", "pseudo", "er"]
    assert (hcp["class-embeddings"]["unknown"], hcp["pseudo"]["rule"]) == ("random", "recall")


def test_it_runs_on_cached_maps_and_without_the_unknown_class(build: Any, learn: Any) -> None:
    cached = {"training.model.freeze": "backbone", "training.model.cache_features": "maps"}
    template = learn(build("hcp", options={**SMALL, "unknown": "none"}, overrides=cached), tasks=2)
    assert template.model.growth == [4, 8]
    assert torch.equal(template.model.head.unknown.weight, template.model.head._drawn("unknown", 4))


def test_a_width_that_heads_do_not_divide_is_one_line(build: Any) -> None:
    match = r"^strategy.class-embeddings.width: must be a multiple of heads, 3, the map has 64"
    with pytest.raises(StrategyError, match=match):
        build("class-embeddings", options={"heads": 3})
