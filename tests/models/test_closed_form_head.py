"""Heads that are solved for, alone and beside a trained one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from clsim.models.closed_form_head import ClosedFormHead, PairedHead
from clsim.models.head import GrowingHead

FEATURES = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))


def _write(head: ClosedFormHead | PairedHead, n_classes: int, width: int = 9) -> tuple[torch.Tensor, ...]:
    head.grow(n_classes)
    solved = torch.randn(n_classes, width), torch.rand(n_classes) + 1, torch.randn(n_classes)
    head.write(*(tensor.double() for tensor in solved))
    return solved


def test_logits_are_affine_in_phi() -> None:
    head = ClosedFormHead(8, 0)
    weight, scale, offset = _write(head, 3)
    phi = torch.cat([FEATURES / FEATURES.norm(dim=1, keepdim=True) * 8**0.5, torch.ones(5, 1)], dim=1)
    torch.testing.assert_close(head(FEATURES), scale * (phi @ weight.T) + offset)


@pytest.mark.parametrize("constant", [True, False])
def test_the_random_layer_depends_on_the_seed_alone(constant: bool) -> None:
    heads = [ClosedFormHead(8, seed, normalise=False, expansion=20, constant=constant) for seed in (1, 1, 2)]
    one, same, other = (head.phi(FEATURES) for head in heads)
    assert one.shape == (5, 20 + constant)
    assert bool((one >= 0).all())
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert heads[0].projection is not None
    assert float(heads[0].projection.abs().max()) <= 8**-0.5


def test_new_classes_are_zero_until_they_are_solved_for_and_old_ones_stay() -> None:
    head = ClosedFormHead(8, 0)
    _write(head, 3)
    before = head(FEATURES)
    head.grow(5)
    torch.testing.assert_close(head(FEATURES)[:, :3], before)
    assert not head(FEATURES)[:, 3:].any()


@pytest.mark.parametrize("combination", ["mean", "solved"])
def test_a_pair_trains_one_head_and_scores_with_both(combination) -> None:
    hidden = nn.Sequential(nn.Linear(8, 6), nn.ReLU())
    pair = PairedHead(GrowingHead(6, 0), ClosedFormHead(8, 0), hidden, combination)
    pair.grow(3)
    trained = pair.trained(hidden(FEATURES))
    assert torch.equal(pair.eval()(FEATURES), trained)  # nothing is solved for yet
    _write(pair, 3)
    solved = pair.solved(FEATURES)
    pair.grow(4)
    trained = pair.trained(hidden(FEATURES))
    assert torch.equal(pair.train()(FEATURES), trained)
    expected = (solved + trained[:, :3]) / 2 if combination == "mean" else solved
    torch.testing.assert_close(pair.eval()(FEATURES), torch.cat([expected, trained[:, 3:]], dim=1))


def test_an_anchored_pair_reads_both_halves() -> None:
    pair = PairedHead(GrowingHead(8, 0), ClosedFormHead(8, 0), nn.Identity(), "solved")
    _write(pair, 2)
    both = torch.cat([FEATURES, FEATURES.flip(0)], dim=1)
    assert torch.equal(pair.train()(FEATURES), pair.trained(FEATURES))
    assert torch.equal(pair.eval()(both), pair.solved(FEATURES.flip(0)))
    assert torch.equal(pair.phi(both), pair.solved.phi(FEATURES.flip(0)))
