"""Every strategy meets the same batches, and equal runs end equal to the last bit."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from avalanche.core import SupervisedPlugin


def generators() -> tuple[Any, ...]:
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002


# --- batches


@pytest.mark.parametrize("spec", ["er", "lwf", "lwf+er"])
def test_every_strategy_meets_the_same_new_rows_at_each_step(new_rows: Any, spec: str) -> None:
    """Paired replay adds rows to steps that are the same; concatenated, the memory's rows take places among them."""
    options = {"replay": "paired"} if "er" in spec.split("+") else {}
    assert new_rows(spec, options=options) == new_rows()


@pytest.mark.parametrize(("spec", "options"), [("finetune", {}), ("er", {"replay": "concat"})])
def test_each_row_of_a_task_comes_once_an_epoch_in_another_order(
    build: Any, new_rows: Any, spec: str, options: Any
) -> None:
    steps = new_rows(spec, options=options)
    for task, experience in enumerate(build().benchmark.train_stream):
        first, second = (
            [row for at, rows in steps.items() if at[:2] == (task, epoch) for row in rows] for epoch in (0, 1)
        )
        assert sorted(first) == sorted(second) == experience.dataset.rows().tolist()
        assert first != second
        assert first != sorted(first)


def test_another_seed_gives_another_order(new_rows: Any) -> None:
    assert new_rows(seed=1) != new_rows()


# --- evaluation


def test_evaluation_changes_neither_weights_nor_optimiser_nor_generators(build: Any, learn: Any) -> None:
    template = learn(build("lwf+er"), tasks=1)
    weights = {key: value.clone() for key, value in template.model.state_dict().items()}
    optimizer, state = template.optimizer, generators()
    moments = [value.clone() for s in optimizer.state.values() for value in s.values()]
    template.evaluator.metrics.clear()  # their history takes each task once
    template.eval(template.benchmark.evaluation_stream)
    assert generators() == state
    assert template.optimizer is optimizer
    assert all(torch.equal(weights[key], value) for key, value in template.model.state_dict().items())
    now = [value for s in optimizer.state.values() for value in s.values()]
    assert all(torch.equal(a, b) for a, b in zip(moments, now, strict=True))


def test_evaluation_during_training_changes_nothing(build: Any, learn: Any, same_weights: Any) -> None:
    class Peek(SupervisedPlugin):
        def after_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
            strategy.eval(strategy.benchmark.evaluation_stream)

    peeking = build(last=[Peek()])
    peeking.evaluator.metrics.clear()
    assert same_weights(learn(peeking, tasks=2), learn(build(), tasks=2))


# --- determinism


@pytest.mark.parametrize("spec", ["finetune", "lwf+er", "joint"])
def test_equal_seeds_give_equal_weights_whatever_ran_before(
    build: Any, learn: Any, same_weights: Any, spec: str
) -> None:
    first = learn(build(spec))
    torch.manual_seed(77)
    torch.rand(5)
    assert same_weights(first, learn(build(spec)))


def test_another_seed_gives_other_weights(build: Any, learn: Any, same_weights: Any) -> None:
    assert not same_weights(learn(build(), tasks=1), learn(build(seed=1), tasks=1))


def test_a_step_starts_with_the_same_global_numbers_whatever_was_drawn_before(build: Any, learn: Any) -> None:
    class Draw(SupervisedPlugin):
        def __init__(self) -> None:
            self.drawn: list[Any] = []

        def draw(self, strategy: Any, **kwargs: Any) -> None:
            self.drawn.append((random.random(), np.random.rand(), float(torch.rand(()))))  # noqa: NPY002

        before_training_exp = after_forward = draw

    class Waste(SupervisedPlugin):
        def after_update(self, strategy: Any, **kwargs: Any) -> None:
            random.random(), np.random.rand(), torch.rand(3)  # noqa: NPY002

    draws = [Draw(), Draw()]
    learn(build(first=[draws[0]]), tasks=1)
    torch.rand(3)
    learn(build(first=[draws[1]], last=[Waste()]), tasks=1)
    assert draws[0].drawn == draws[1].drawn
    assert len(set(draws[0].drawn)) == len(draws[0].drawn)
