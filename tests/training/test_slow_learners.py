"""CLS-ER's copies: how they follow, what memory rows are held to, and what scores images."""

from __future__ import annotations

from typing import Any

import torch

from clsim.training.slow_learners import SlowLearners, nearest_answer


def plugin_of(template: Any) -> SlowLearners:
    return next(plugin for plugin in template.plugins if isinstance(plugin, SlowLearners))


def weights(network: torch.nn.Module) -> list[torch.Tensor]:
    return [value.clone() for value in network.state_dict().values()]


def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_better_copy_answers_each_entry() -> None:
    y = torch.tensor([[1.0, 0.0, -1.0, 0.3, 1.0]])
    stable, plastic = torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([[5.0, -1.0, 9.0, 9.0]])
    assert nearest_answer(y, stable, plastic).tolist() == [[5, -1, 3, 4]]


def test_without_weight_the_network_is_that_of_er(build: Any, learn: Any, same_weights: Any) -> None:
    paired = {"er.replay": "paired", "er.selection": "reservoir"}
    options = {"slow-learners.weight": 0.0, "scored": "network"}
    assert same_weights(learn(build("cls-er", options=options), tasks=2), learn(build("er", options=paired), tasks=2))


class Follow:
    """Looks at the copies after each step."""

    def __init__(self) -> None:
        self.first: list[torch.Tensor] = []
        self.term = 0.0

    def before_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
        if strategy.position.place == (0, 0, 0):
            self.first = weights(strategy.model)

    def after_update(self, strategy: Any, **kwargs: Any) -> None:
        stable, plastic = plugin_of(strategy).copies
        assert equal(weights(stable), weights(strategy.model)), "keeps nothing, follows at each step"
        if strategy.position.task == 0:
            assert equal(weights(plastic), self.first), "never follows"
        self.term += float(strategy._terms.get("consistency", 0.0))


class Answers:
    """Scores of evaluation images, and those of each network."""

    def after_eval_iteration(self, strategy: Any, **kwargs: Any) -> None:
        with torch.no_grad():
            assert torch.equal(strategy.mb_output, strategy.logits(plugin_of(strategy).copies[0], strategy.mb_x))


def test_how_copies_follow(build: Any, learn: Any) -> None:
    follow = Follow()
    options = {"decay": 0.0, "stable_rate": 1.0, "plastic_rate": 0.0}
    learn(build("cls-er", options=options, last=[follow]), tasks=2)
    assert follow.term > 0


def test_the_stable_copy_scores_and_is_the_trained_model(build: Any, learn: Any) -> None:
    template = build("cls-er", options={"stable_rate": 0.5})
    template.plugins.insert(0, Answers())
    learn(template, tasks=2)
    stable = plugin_of(template).copies[0]
    assert not equal(weights(stable), weights(template.model))
    learn(template)
    assert equal(weights(plugin_of(template).copies[0]), weights(template.model))
