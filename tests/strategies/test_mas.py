"""Memory aware synapses: importances are slopes of the squared norm of the logits."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from clsim.training.importances import MemoryAwareSynapses


def plugin_of(template: Any) -> MemoryAwareSynapses:
    return next(plugin for plugin in template.plugins if isinstance(plugin, MemoryAwareSynapses))


@pytest.mark.parametrize("per", ["row", "batch"])
def test_importances_of_a_linear_head(build: Any, learn: Any, per: str) -> None:
    """d|z|^2 / dW = 2 z h'; over all rows, or over each batch of 16 before the absolute value."""
    template = learn(build("mas", options={"per": per}, overrides={"training.model.freeze": "backbone"}), tasks=1)
    rows = template.benchmark.train_stream[0].dataset.rows()
    model = template.model.eval()
    with torch.no_grad():
        h = model.trunk(template.store.images(rows, torch.device("cpu")))
        z = model.head(h)
    parts = [slice(i, i + (1 if per == "row" else 16)) for i in range(0, len(rows), 1 if per == "row" else 16)]
    weight = sum((2 * z[part].T @ h[part]).abs() for part in parts) / len(rows)
    bias = sum((2 * z[part]).sum(0).abs() for part in parts) / len(rows)
    importances = plugin_of(template).importances
    assert set(importances) == {"head.weight", "head.bias"}
    torch.testing.assert_close(importances["head.weight"], weight, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(importances["head.bias"], bias, rtol=1e-4, atol=1e-6)


def test_without_weight_it_is_finetuning_and_later_importances_are_added(
    build: Any, learn: Any, same_weights: Any
) -> None:
    template = learn(build("mas", options={"weight": 0.0}), tasks=2)
    assert same_weights(template, learn(build(), tasks=2))
    last = learn(build("mas", options={"weight": 0.0, "decay": 0.0}), tasks=2)
    first = learn(build("mas", options={"weight": 0.0}), tasks=1)
    name = "head.weight"
    both, second, once = (plugin_of(one).importances[name] for one in (template, last, first))
    torch.testing.assert_close(both[:4], second[:4] + once)
    torch.testing.assert_close(both[4:], second[4:])
