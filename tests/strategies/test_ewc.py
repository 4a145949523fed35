"""Avalanche's EWC in clsim: a penalty from the second task on, and importances that disturb nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from avalanche.core import SupervisedPlugin
from torch import Tensor

from clsim.training.losses.binary import masked_bce


def plugin_of(template: Any) -> Any:
    return next(plugin for plugin in template.plugins if hasattr(plugin, "ewc_lambda"))


def ewc(build: Any, weight: float, **settings: Any) -> Any:
    return build("ewc", options={"weight": weight}, **settings)


def test_the_first_task_is_finetuning(build: Any, learn: Any, same_weights: Any) -> None:
    assert same_weights(learn(ewc(build, 100.0), tasks=1), learn(build(), tasks=1))


def test_the_penalty_acts_from_the_second_task_on(build: Any, learn: Any, same_weights: Any) -> None:
    assert not same_weights(learn(ewc(build, 1.0), tasks=2), learn(build(), tasks=2))


def test_without_weight_it_is_finetuning_to_the_last_bit(build: Any, learn: Any, same_weights: Any) -> None:
    assert same_weights(learn(ewc(build, 0.0)), learn(build()))


def test_a_heavier_penalty_keeps_important_weights_closer(build: Any, learn: Any) -> None:
    moved = []
    for weight in (0.0, 1.0, 100.0):
        template = learn(ewc(build, weight, overrides={"training.optimizer.name": "sgd"}), tasks=2)
        plugin, now = plugin_of(template), dict(template.model.backbone.named_parameters(prefix="backbone"))
        saved, importances = plugin.saved_params[0], plugin.importances[0]
        parts = [importances[key].data * (value - saved[key].data) ** 2 for key, value in now.items()]
        moved.append(float(sum(part.detach().sum() for part in parts)))
    assert moved[0] > moved[1] > moved[2]


def test_importances_are_mean_squared_gradients_of_the_scenarios_loss(build: Any, learn: Any) -> None:
    template = learn(ewc(build, 1.0), tasks=1)
    model, dataset = template.model.eval(), template.benchmark.train_stream[0].dataset
    expected: dict[str, Tensor] = {key: torch.zeros_like(value) for key, value in model.named_parameters()}
    batches = range(0, len(dataset), 16)
    for start in batches:
        x, y, _ = dataset.__getitems__(range(start, min(start + 16, len(dataset)))).batch
        gradients = torch.autograd.grad(masked_bce(model(x), y), list(model.parameters()))
        for key, gradient in zip(expected, gradients, strict=True):
            expected[key] += gradient**2 / len(batches)
    importances = plugin_of(template).importances[0]
    for key, value in expected.items():
        torch.testing.assert_close(importances[key].data, value, rtol=1e-4, atol=1e-8)


def test_online_importances_without_decay_are_the_sum_of_separate_ones(
    build: Any, learn: Any, same_weights: Any
) -> None:
    separate, online = learn(build("ewc", options={"weight": 0.0})), learn(build("oewc", options={"weight": 0.0}))
    assert same_weights(separate, online)
    parts, (whole,) = plugin_of(separate).importances, plugin_of(online).importances.values()
    assert list(plugin_of(online).saved_params) == [2]
    for key, entry in whole.items():
        total = torch.zeros_like(entry.data)
        for part in parts.values():
            total[tuple(slice(n) for n in part[key].data.shape)] += part[key].data
        torch.testing.assert_close(entry.data, total)


def test_the_online_penalty_is_around_the_last_weights_only(build: Any, learn: Any, same_weights: Any) -> None:
    online, separate = (learn(build(spec, options={"weight": 30.0})) for spec in ("oewc", "ewc"))
    assert not same_weights(online, separate)
    plugin, model, noted = plugin_of(online), online.model, SimpleNamespace(train_exp_counter=3)
    strategy = SimpleNamespace(model=model, device=torch.device("cpu"), clock=noted, loss=torch.zeros(()))
    with torch.no_grad():
        model.head.weight += 0.5
    model.zero_grad()
    plugin.before_backward(strategy)
    strategy.loss.backward()
    expected = 2 * 30.0 * plugin.importances[2]["head.weight"].data * 0.5
    torch.testing.assert_close(model.head.weight.grad, expected, rtol=1e-4, atol=1e-8)


def test_growing_keeps_what_is_known_of_old_rows_and_penalises_no_new_ones(build: Any, learn: Any) -> None:
    template = learn(ewc(build, 1.0), tasks=1)
    plugin = plugin_of(template)
    before = plugin.state_dict()
    learn(template, tasks=2)
    for name in ("saved_params", "importances"):
        grown = getattr(plugin, name)[0]["head.weight"].data
        assert grown.shape[0] == 8
        assert torch.equal(grown[:4], before[name][0]["head.weight"])
        assert not grown[4:].any()


def test_computing_importances_disturbs_neither_statistics_nor_weights_nor_generators(build: Any, learn: Any) -> None:
    class Look(SupervisedPlugin):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[list[Tensor]] = []

        def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
            state = [value.clone() for value in strategy.model.state_dict().values()]
            modes = torch.tensor([module.training for module in strategy.model.modules()])
            self.seen.append([*state, modes, torch.get_rng_state()])

    before, after = Look(), Look()
    learn(ewc(build, 1.0, first=[before], last=[after]))
    assert len(before.seen) == 3
    for one, other in zip(before.seen, after.seen, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("spec", ["ewc+er", "ewc+lwf", "finetune+ewc"])
def test_it_combines_with_methods_that_penalise_no_weights(build: Any, learn: Any, spec: str) -> None:
    template = learn(build(spec), tasks=2)
    assert set(plugin_of(template).importances) == {0, 1}


@pytest.mark.parametrize("overrides", [{"training.precision": "bfloat16"}, {"training.model.channels_last": True}])
def test_importances_are_float32_on_the_models_device(build: Any, learn: Any, overrides: Any) -> None:
    template = learn(ewc(build, 1.0, overrides=overrides), tasks=2)
    for entries in plugin_of(template).importances.values():
        assert {(entry.data.dtype, entry.data.device.type) for entry in entries.values()} == {(torch.float32, "cpu")}


def test_a_frozen_backbone_has_no_importance(build: Any, learn: Any) -> None:
    template = learn(ewc(build, 1.0, overrides={"training.model.freeze": "backbone"}), tasks=1)
    importances = plugin_of(template).importances[0]
    assert not any(entry.data.any() for key, entry in importances.items() if key.startswith("backbone."))
    assert importances["head.weight"].data.any()


def test_a_state_is_a_copy(build: Any, learn: Any) -> None:
    plugin = plugin_of(learn(ewc(build, 1.0), tasks=1))
    state = plugin.state_dict()
    before = state["importances"][0]["head.bias"].clone()
    plugin.importances[0]["head.bias"].data += 1
    assert torch.equal(state["importances"][0]["head.bias"], before)


def test_a_loaded_state_follows_the_run_to_its_device(build: Any, learn: Any) -> None:
    template, other = learn(ewc(build, 1.0), tasks=1), ewc(build, 1.0)
    plugin, device = plugin_of(other), torch.device("meta")
    plugin.load_state_dict(plugin_of(template).state_dict())
    template.model.head.grow(8)
    strategy = SimpleNamespace(
        model=template.model.to(device),
        device=device,
        clock=SimpleNamespace(train_exp_counter=1),
        loss=torch.zeros(1, device=device),
    )
    plugin.before_backward(strategy)
    assert {entry.data.device for entry in plugin.importances[0].values()} == {device}
    assert plugin.importances[0]["head.weight"].data.shape[0] == 8


def test_the_penalty_in_few_operations_has_the_bits_of_the_stock_plugin(
    build: Any, learn: Any, same_weights: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = learn(ewc(build, 30.0))
    stock = ewc(build, 30.0)
    kind = type(plugin_of(stock))
    ours = kind.before_backward

    def theirs(self: Any, strategy: Any, **kwargs: Any) -> None:
        before = strategy.loss.clone()
        ours(self, strategy)  # brings what is kept to the shapes of now
        strategy.loss = before
        kind.__mro__[1].before_backward(self, strategy, **kwargs)

    monkeypatch.setattr(kind, "before_backward", theirs)
    assert same_weights(template, learn(stock))
    assert float(template.loss) == float(stock.loss)
