"""KRT: its head against the formulas written out, its token loss on the example, what a task may not change."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from clsim.errors import StrategyError
from clsim.models.cross_attention import CrossAttentionHead
from clsim.training.composition import Composition
from clsim.training.memory.replay import Replay
from clsim.training.plugin import Plugin
from clsim.training.token_distillation import token_loss, token_weight

SMALL = {"krt.width": 16, "krt.heads": 2}
FROZEN_STATISTICS = {"training.model.freeze": "batch-norm"}


def grown(*n_classes: int, shape: tuple[int, ...] = (6, 2, 3)) -> CrossAttentionHead:
    torch.manual_seed(0)
    head = CrossAttentionHead(shape, 0, width=8, heads=2)
    for number in n_classes:
        head.grow(number)
    with torch.no_grad():  # so that no part of the formulas is near 0
        for parameter in head.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=head.generator("test", *parameter.shape)))
    return head


def by_the_formulas(head: CrossAttentionHead, maps: Tensor) -> Tensor:
    """Logits of images one by one, task by task, head by head; maps are [B, N, d]."""
    rows = []
    for image in maps:
        x = image @ head.project.weight.T + head.project.bias + head.place
        logits = []
        for own, norm, linear in zip(head.own, head.norms, head.rows, strict=True):
            a = head.norm1(torch.cat([head.shared, own, x]))
            parts = []
            for columns in (slice(0, 4), slice(4, 8)):
                q, k, v = (part.weight[columns] for part in (head.query, head.key, head.value))
                weights = ((a[0] @ q.T) @ (a @ k.T).T / 4**0.5).softmax(0)
                parts.append(weights @ (a @ v.T))
            e = head.shared[0] + torch.cat(parts) @ head.out.weight.T + head.out.bias
            e = e + head.mlp(head.norm2(e))
            logits.append(linear(norm(e)))
        rows.append(torch.cat(logits))
    return torch.stack(rows)


def test_the_head_is_its_formulas_on_a_map_and_on_tokens() -> None:
    maps = torch.randn(3, 6, 2, 3)
    tokens = maps.flatten(2).transpose(1, 2)
    head = grown(2, 5)
    torch.testing.assert_close(head(maps), by_the_formulas(head, tokens), rtol=1e-5, atol=1e-5)
    same = grown(2, 5, shape=(6, 6))
    assert torch.equal(same(tokens), head(maps))


def test_a_task_more_changes_no_bit_of_earlier_tokens_and_freezes_what_is_theirs() -> None:
    maps = torch.randn(3, 6, 2, 3)
    head = grown(2)
    before = copy.deepcopy(head)
    head.grow(5)
    assert torch.equal(head.tokens(maps)[:, 0], before.tokens(maps)[:, 0])
    assert torch.equal(head(maps)[:, :2], before(maps))
    frozen = {name for name, parameter in head.named_parameters() if not parameter.requires_grad}
    assert frozen == {"own.0", "norms.0.weight", "norms.0.bias", "rows.0.weight", "rows.0.bias"}


def test_the_token_loss_of_the_example() -> None:
    old, new = (torch.tensor([row]).view(1, 2, 2) for row in ([1.0, 0, 0, 1], [1.0, 0, 1, 0]))
    assert float(token_loss(new, old)) == pytest.approx(0.5)
    assert token_weight(100, 20, 10) * float(token_loss(new, old)) == pytest.approx(70.710678)
    tokens = torch.randn(5, 3, 8)
    assert float(token_loss(tokens, tokens.clone())) == 0
    expected = 1 - torch.cosine_similarity(tokens.flatten(1), tokens.flip(0).flatten(1))
    torch.testing.assert_close(token_loss(tokens, tokens.flip(0)), expected.mean())


class Terms(Plugin):
    """Notes the token loss of each step, and head and tokens when a task ends."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: dict[int, list[float]] = {}
        self.heads: list[dict[str, Tensor]] = []

    def after_backward(self, learner: Any, **kwargs: Any) -> None:
        if "tokens" in learner._terms:
            self.losses.setdefault(learner.position.task, []).append(float(learner._terms["tokens"]))

    def after_training_exp(self, learner: Any, **kwargs: Any) -> None:
        self.heads.append(copy.deepcopy(learner.model.head.state_dict()))


def test_a_task_leaves_earlier_heads_and_tokens_and_begins_without_token_loss(build: Any, learn: Any) -> None:
    terms = Terms()
    learn(build("krt+er", options={**SMALL, "er.selection": "herding"}, overrides=FROZEN_STATISTICS, last=[terms]))
    assert list(terms.losses) == [1, 2]
    for losses in terms.losses.values():
        assert losses[0] == 0
        assert max(losses) > 1e-6
    first, second, last = terms.heads
    own = ("own.0", "norms.0.weight", "norms.0.bias", "rows.0.weight", "rows.0.bias")
    assert all(torch.equal(first[name], last[name]) for name in own)
    assert all(torch.equal(second[name.replace("0", "1", 1)], last[name.replace("0", "1", 1)]) for name in own)
    assert not torch.equal(first["shared"], last["shared"])
    assert not torch.equal(first["query.weight"], last["query.weight"])


def test_without_weight_the_token_loss_changes_nothing(build: Any, learn: Any, same_weights: Any) -> None:
    weightless = learn(build("krt", options={**SMALL, "weight": 0.0}), tasks=2)
    assert not same_weights(weightless, learn(build("krt", options={**SMALL, "weight": 9.0}), tasks=2))


def test_it_runs_on_cached_maps_beside_other_parts(build: Any, learn: Any) -> None:
    cached = {"training.model.freeze": "backbone", "training.model.cache_features": "maps"}
    template = learn(build("krt+lwf+er", options={**SMALL, "er.selection": "herding"}, overrides=cached), tasks=2)
    (replay,) = [plugin for plugin in template.plugins if isinstance(plugin, Replay)]
    assert len(replay.memory.rows)
    assert template.model.growth == [4, 8]


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(StrategyError, match="width must be a multiple of heads, 8, given 12"):
        Composition("krt", {"width": 12})
