"""The maximum-entropy term: its numbers, where it pulls to, and what it needs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from clsim.errors import StrategyError
from clsim.training.composition import Composition
from clsim.training.entropy import negative_entropy


def test_the_term_and_its_gradient_on_two_probabilities() -> None:
    logits = torch.tensor([[0.9, 0.1]], dtype=torch.float64).logit().requires_grad_()
    term = 0.04 * negative_entropy(logits, [0, 1])
    term.backward()
    assert term.item() == pytest.approx(-0.0130033, abs=1e-6)  # 8e-7 of it are the epsilon
    assert logits.grad.tolist()[0] == pytest.approx([0.003221, -0.004689], abs=1e-6)


@pytest.mark.parametrize(("binary", "rest"), [(False, 1 / torch.e), (True, 0.5)])
def test_it_pulls_to_where_its_entropy_is_greatest(binary: bool, rest: float) -> None:
    logits = torch.tensor([[rest]], dtype=torch.float64).logit().requires_grad_()
    negative_entropy(logits, [0], binary).backward()
    assert float(logits.grad) == pytest.approx(0, abs=1e-5)


def test_only_the_columns_named_count_and_rows_are_averaged() -> None:
    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    rows = [negative_entropy(logits[i : i + 1, [0, 1, 3]], [0, 1, 2]) for i in range(6)]
    torch.testing.assert_close(negative_entropy(logits, [0, 1, 3]), torch.stack(rows).mean())
    assert negative_entropy(logits, []) == 0


def test_it_begins_with_the_second_task_and_without_beta_it_is_lwf(build: Any, learn: Any, same_weights: Any) -> None:
    lwf = learn(build("lwf"), tasks=2)
    assert same_weights(learn(build("lwf+max-entropy", options={"beta": 0.0}), tasks=2), lwf)
    assert not same_weights(learn(build("lwf+max-entropy"), tasks=2), lwf)
    seen = {"beta": 9.0, "classes": "seen"}
    assert same_weights(learn(build("lwf+max-entropy", options=seen), tasks=1), learn(build("lwf"), tasks=1))


def test_without_distillation_it_is_refused_by_name() -> None:
    with pytest.raises(StrategyError, match="max-entropy needs a part that brings the distillation, such as lwf"):
        Composition("er+max-entropy")
