"""A-GEM: no step raises the loss of the memory, and nothing but gradients is touched."""

from __future__ import annotations

from typing import Any

import torch

from clsim.training.memory.projection import GradientProjection, projected


def test_the_projected_gradient_of_known_vectors() -> None:
    g, r = torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 1.0])
    assert projected(g, r).tolist() == [0.5, 0.5]
    random = torch.Generator().manual_seed(0)
    for _ in range(20):
        g, r = torch.randn(2, 1000, generator=random)
        after = projected(g, r)
        if torch.dot(g, r) < 0:
            assert abs(torch.dot(after, r)) <= 1e-6 * after.norm() * r.norm()
        else:
            assert torch.equal(after, g)
    assert torch.equal(projected(g, torch.zeros_like(g)), g)


class Between:
    """Looks at gradients and buffers before the projection, and after it."""

    def __init__(self, first: Between | None = None) -> None:
        self.first = first
        self.gradient = torch.empty(0)
        self.buffers: list[torch.Tensor] = []
        self.products: list[tuple[float, float]] = []

    def after_backward(self, strategy: Any, **kwargs: Any) -> None:
        trained = [theta for theta in strategy.model.parameters() if theta.grad is not None]
        self.gradient = torch.cat([theta.grad.flatten() for theta in trained])
        self.buffers = [buffer.clone() for buffer in strategy.model.buffers()]
        plugin = next(plugin for plugin in strategy.plugins if isinstance(plugin, GradientProjection))
        if self.first is not None and len(plugin.memory):
            drawn = plugin.memory.draw(2, *strategy.position.place)
            reference = plugin._reference(strategy, drawn, trained)
            scale = reference.norm()
            before, after = (float(torch.dot(g, reference) / scale) for g in (self.first.gradient, self.gradient))
            self.products.append((before, after))
            assert before < 0 or torch.equal(self.first.gradient, self.gradient)
            assert all(torch.equal(a, b) for a, b in zip(self.first.buffers, self.buffers, strict=True))


def test_no_step_of_a_run_raises_the_memorys_loss(build: Any, learn: Any) -> None:
    first = Between()
    last = Between(first)
    options, longer = {"rows": 2, "old_classes": "negative"}, {"training.epochs": 6}
    template = build("a-gem+finetune", options=options, overrides=longer, first=[first], last=[last])
    learn(template, tasks=2)
    assert any(before < 0 for before, _ in last.products)
    assert all(after >= -1e-5 for _, after in last.products)
    assert template.samples_trained == 6 * sum(len(e.dataset) for e in template.benchmark.train_stream[:2])
    plugin = next(plugin for plugin in template.plugins if isinstance(plugin, GradientProjection))
    assert plugin.nbytes == plugin.memory.nbytes(plugin.store.image_bytes) > 0


def test_without_a_memory_it_is_finetuning(build: Any, learn: Any, same_weights: Any) -> None:
    assert same_weights(learn(build("a-gem"), tasks=1), learn(build(), tasks=1))


def test_rows_that_are_left_out_are_not_asked(build: Any, learn: Any) -> None:
    """`bic` validates on some stored rows, which must not shape a gradient."""
    template, asked = build("a-gem+bic", options={"share": 0.5}), []
    plugin = template.find_plugin(GradientProjection)

    reference = plugin._reference

    def spy(learner: Any, drawn: Any, trained: Any) -> Any:
        asked.append(plugin.memory.left_out[drawn])
        return reference(learner, drawn, trained)

    plugin._reference = spy
    learn(template, tasks=2)
    assert plugin.memory.left_out.any()
    assert len(asked) > 1
    assert not any(left_out.any() for left_out in asked)
