"""Logits beside the rows of a memory, and the terms of DER++."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from clsim.training.memory.replay import Replay
from clsim.training.memory.stored_logits import LOGITS, stored_logit_distance

NAN = float("nan")


def test_the_term_is_a_mean_over_the_stored_columns_of_a_row_and_a_sum_over_rows_by_the_batch() -> None:
    logits = torch.tensor([[1.0, 2.0, 0.0], [5.0, 5.0, 5.0]], requires_grad=True)
    term = 0.5 * stored_logit_distance(logits, torch.tensor([[0.0, 4.0, NAN], [NAN, NAN, NAN]]), 2)
    term.backward()
    assert float(term) == 0.625
    assert logits.grad is not None
    assert logits.grad.tolist() == [[0.25, -0.5, 0.0], [0.0, 0.0, 0.0]]


def test_a_row_weighs_the_same_however_many_classes_there_are() -> None:
    few, many = (float(stored_logit_distance(torch.ones(4, n), torch.zeros(4, n), 8)) for n in (2, 80))
    assert few == many == 0.5


class Watch:
    """Sees the gradient of the whole loss, and that of the loss over the new rows alone."""

    def __init__(self) -> None:
        self.memories: list[Any] = []
        self.fractions: list[float] = []

    def before_backward(self, strategy: Any, **kwargs: Any) -> None:
        new = ~strategy.replayed
        if not new.any() or new.all():
            return
        own = strategy.loss_of(strategy.mb_output[new], strategy.mb_y[new])
        whole = torch.autograd.grad(strategy.loss, strategy.mb_output, retain_graph=True)[0]
        alone = torch.autograd.grad(own, strategy.mb_output, retain_graph=True)[0] * new.sum() / len(new)
        torch.testing.assert_close(whole, alone, atol=1e-6, rtol=1e-5)
        self.fractions.append(float(new.sum() / len(new)))

    def after_training(self, strategy: Any, **kwargs: Any) -> None:
        memory = strategy.find_plugin(Replay).memory
        self.memories.append((memory.stored_by.copy(), memory.payload[LOGITS].copy(), memory.nbytes(0)))


def test_without_both_factors_the_gradient_is_that_of_the_new_rows(build: Any, learn: Any) -> None:
    watch = Watch()
    learn(build("er+derpp", options={"alpha": 0.0, "beta": 0.0}, last=[watch]))
    assert watch.fractions


def test_each_row_has_the_logits_of_the_classes_of_its_time_and_keeps_them(build: Any, learn: Any) -> None:
    watch = Watch()
    watch.before_backward = lambda *_, **__: None  # type: ignore[method-assign]
    template = learn(build("er+derpp", last=[watch]))
    memory = template.find_plugin(Replay).memory
    seen = np.array([4, 8, 10])
    for stored_by, logits, nbytes in watch.memories:
        assert np.array_equal(np.isnan(logits), np.arange(10) >= seen[stored_by][:, None])
        assert nbytes == len(stored_by) * (8 + 6 * 10 + 8 + 4 * 10)
    before, after = watch.memories[0][1], watch.memories[2][1]
    assert any(np.array_equal(after[0], row, equal_nan=True) for row in before), "kept as they were"
    last = np.flatnonzero(memory.stored_by == 2)
    scored = template.scored(template.model, template.store, memory.rows[last])
    now = torch.from_numpy(scored)
    assert float(stored_logit_distance(now, torch.from_numpy(memory.payload[LOGITS][last]), 7)) == 0
