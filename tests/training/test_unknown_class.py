"""The unknown class: what its unit reads, by hand, its targets, and the numbers it draws."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from clsim.training.ranks import Part
from clsim.training.unknown_class import UnknownClass, betas, mixed


def test_the_mix_by_hand() -> None:
    tokens = torch.tensor([[[2.0, 0.0], [0.0, 1.0], [3.0, 4.0], [-1.0, 0.0], [9.0, 9.0]]])
    y = torch.tensor([[1.0, 0.0, 0.0, 0.0, -1.0, 0.0]])  # a class to come, beyond the outputs, is not read
    factors = torch.tensor([[0.9, 0.5, 0.25, 1.0, 1.0]])
    read, targets = mixed(tokens, y, factors, "similar")
    # cosines to (2, 0): 0, 0.6, -1 (cut at 0), so that o_2 is all of it
    assert read.tolist() == [[[3.0, 4.0], [2.0, 0.0]]]
    assert targets.tolist() == [[1.0, 0.0]]
    at_random, _ = mixed(tokens, y, factors, "random")
    by_hand = (0.5 * tokens[0, 1] + 0.25 * tokens[0, 2] + tokens[0, 3]) / 1.75
    torch.testing.assert_close(at_random[0], torch.stack([by_hand, tokens[0, 0]]))


def test_likeness_is_the_mean_over_present_classes_and_carries_no_gradient() -> None:
    tokens = (torch.randn(1, 5, 3, generator=torch.Generator().manual_seed(1)) + 0.7).requires_grad_()
    y, factors = torch.tensor([[1.0, 0.8, 0.0, 0.2, 0.0]]), torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.5]])
    read, _ = mixed(tokens, y, factors, "similar")
    o = tokens.detach()[0]
    w = [torch.cosine_similarity(o[:2], o[a], dim=1).mean().clamp(min=0) * factors[0, a] for a in (2, 3, 4)]
    assert sum(w) > 0
    expected = sum(weight * o[a] for weight, a in zip(w, (2, 3, 4), strict=True)) / sum(w)
    torch.testing.assert_close(read[0], torch.stack([expected, o[:2].mean(dim=0)]))
    read[0, 0].sum().backward()
    torch.testing.assert_close(tokens.grad[0, 2:].sum(dim=1), 3 * torch.stack(w) / sum(w))
    assert not tokens.grad[0, :2].any()


@pytest.mark.parametrize("mix", ["similar", "random"])
@pytest.mark.parametrize("y", [[1.0, 1.0], [0.0, 0.0], [-1.0, -1.0], [1.0, -1.0]], ids=str)
def test_an_image_without_present_or_absent_classes_is_in_no_loss(y: list[float], mix: Any) -> None:
    tokens = torch.randn(1, 2, 3, requires_grad=True)
    read, targets = mixed(tokens, torch.tensor([y]), torch.ones(1, 2), mix)
    assert targets.tolist() == [[-1.0, -1.0]]
    assert not read.any()
    read.sum().backward()
    assert not tokens.grad.any()


def test_opposite_outputs_give_no_mix() -> None:
    tokens = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]])
    assert mixed(tokens, torch.tensor([[1.0, 0.0]]), torch.ones(1, 2), "similar")[1].tolist() == [[-1.0, -1.0]]


def test_betas_have_mean_and_variance_of_the_distribution_and_grow_from_their_start() -> None:
    drawn = betas(20_000, 0.2, 7, "test")
    assert drawn.mean() == pytest.approx(0.5, abs=0.01)
    assert drawn.var() == pytest.approx(1 / (4 * 1.4), abs=0.01)
    assert np.array_equal(betas(11, 0.2, 7, "test"), drawn[:11])
    assert betas(20_000, 1.0, 7).var() == pytest.approx(1 / 12, abs=0.01)


def test_a_rank_draws_for_its_rows_what_one_process_draws_for_them() -> None:
    plugin = UnknownClass("random", 0.2, 1.0)
    rest: dict[str, Any] = {"batch_rows": 11, "seed": 3, "position": SimpleNamespace(place=(1, 0, 2))}

    def drawn(part: Part, of_replayed: Part) -> Any:
        n = part.stop - part.start + of_replayed.stop - of_replayed.start
        loader = SimpleNamespace(part=part, part_beyond=Part.all_of(0))
        learner: Any = SimpleNamespace(loader=loader, mb_x=torch.zeros(n, 1), part=lambda n: of_replayed, **rest)
        return plugin._factors(learner, 4)

    whole = drawn(Part.all_of(8), Part.all_of(3))
    assert whole.shape == (11, 4)
    assert np.array_equal(drawn(Part(4, 8, 8), Part(1, 3, 3)), whole[[4, 5, 6, 7, 9, 10]])
    assert np.array_equal(drawn(Part(0, 4, 8), Part(0, 1, 3)), whole[[0, 1, 2, 3, 8]])
