"""MORE in runs: what each path may do, and that nothing but merged weights outlives a task."""

from __future__ import annotations

import copy
import logging
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from avalanche.logging import BaseLogger
from torch import Tensor, nn

from clsim.errors import StrategyError
from clsim.models.build import build_model
from clsim.models.low_rank import LowRank, general_path, low_rank_parts, relative_sizes
from clsim.scenario import load_scenario
from clsim.scenario.training_schema import ModelSection
from clsim.training.composition import Composition
from clsim.training.distillation import Distillation
from clsim.training.memory.replay import Replay
from clsim.training.more.plugin import CONFIDENT, ModelRebalancing
from clsim.training.more.terms import (
    rank_correlation,
    rebalancing_loss,
    tail_to_head,
)
from clsim.training.snapshot import Snapshot

ALIVE = {"init_b": 0.05, "amplitude": 2.0}
SHORT = {"training.epochs": 1}
KINDS: list[Any] = ["exposure", "sample", "class", "uniform"]


class Watch:
    """Calls a function at one event, placed before or behind the strategy's plugins."""

    def __init__(self, event: str, look: Any) -> None:
        setattr(self, event, lambda strategy, **kwargs: look(strategy))

    def state_dict(self) -> dict[str, Any]:
        return {}


def plugin_of(template: Any, kind: type[Any] = ModelRebalancing) -> Any:
    return next(plugin for plugin in template.plugins if isinstance(plugin, kind))


# --- the life of a decomposition


def test_both_paths_start_every_task_as_the_old_model_and_part_in_it(build: Any, learn: Any) -> None:
    gaps: dict[Any, float] = {}

    def look(strategy: Any) -> None:
        at = strategy.position
        model = strategy.model.eval()
        with torch.no_grad():
            full = model(strategy.mb_x)
            with general_path(model):
                gaps[at.task, at.epoch, at.step] = float((full - model(strategy.mb_x)).abs().max())
        model.train()

    learn(build("er+more", overrides=SHORT, last=[Watch("before_forward", look)]))
    starts = {at: gap for at, gap in gaps.items() if at[1:] == (0, 0)}
    assert len(starts) == 3
    assert set(starts.values()) == {0}
    assert min(gap for at, gap in gaps.items() if at not in starts) > 0


def test_memory_relabelling_and_the_next_snapshot_meet_merged_models_only(build: Any, learn: Any) -> None:
    plain = list(build("finetune").model.state_dict())
    kept: list[dict[str, Tensor]] = []

    def keep(strategy: Any) -> None:
        assert list(strategy.model.state_dict()) == plain
        assert not any(isinstance(module, LowRank) for module in strategy.model.modules())
        kept.append({key: value.clone() for key, value in strategy.model.state_dict().items()})

    def look(strategy: Any) -> None:
        if kept:
            found = plugin_of(strategy, Snapshot).model.state_dict()
            assert list(found) == plain
            assert all(torch.equal(value, kept[-1][key]) for key, value in found.items())

    for spec in ("more+rebll", "rebll+more"):
        kept.clear()
        watches = [Watch("after_training_exp", keep), Watch("before_training_exp", look)]
        learn(build(spec, options=ALIVE, overrides=SHORT, first=watches[:1], last=watches))
        assert len(kept) == 6


def test_evaluation_inside_a_task_sees_the_full_path(build: Any, learn: Any) -> None:
    outputs: dict[bool, list[Tensor]] = {True: [], False: []}

    def look(strategy: Any) -> None:
        outputs[strategy.position.started].append(strategy.mb_output.clone())

    template = build(
        "finetune+more",
        options=ALIVE,
        overrides={"evaluation.every": "epoch", "training.epochs": 1},
        last=[Watch("after_eval_forward", look)],
    )
    learn(template)
    assert len(outputs[True]) == len(outputs[False]) > 0
    for inside, merged in zip(outputs[True], outputs[False], strict=True):
        torch.testing.assert_close(inside, merged, rtol=0, atol=1e-5)


class DecompositionAlone(ModelRebalancing):
    """Decomposes and merges, but never compares the paths."""

    def before_backward(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing."""


def with_dropout(template: Any) -> Any:
    class Dropping(nn.Module):
        def __init__(self, backbone: nn.Module) -> None:
            super().__init__()
            self.backbone = backbone

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.dropout(self.backbone(x), 0.5, self.training)

    template.model.backbone = Dropping(template.model.backbone)
    return template


@pytest.mark.parametrize("dropout", [False, True])
def test_amplitude_zero_is_the_decomposition_alone(build: Any, learn: Any, same_weights: Any, dropout: bool) -> None:
    options = {"amplitude": 0.0, "init_b": 0.01}
    control, bare = (build("er+more", options=options, overrides=SHORT) for _ in range(2))
    plugin_of(bare).__class__ = DecompositionAlone
    if dropout:
        control, bare = with_dropout(control), with_dropout(bare)
    assert same_weights(learn(control, tasks=2), learn(bare, tasks=2))
    assert np.isfinite(plugin_of(control).discrepancy).all()


def test_both_paths_drop_out_the_same_units(build: Any, learn: Any) -> None:
    gaps: list[float] = []
    look = Watch("after_update", lambda strategy: gaps.append(float(plugin_of(strategy).discrepancy.max())))
    learn(with_dropout(build("finetune+more", last=[look])), tasks=1)
    assert gaps[0] == 0
    assert gaps[1] > 0


def test_each_option_changes_the_weights(build: Any, learn: Any, same_weights: Any) -> None:
    base = {"amplitude": 2.0}
    changes: list[dict[str, Any]] = [{}, {"amplitude": 0.0}, {"gradient": "student_only"}, {"rank": 0.3}]
    changes += [{"clip": (0.5, 1.0)}, {"init_b": 0.02}, {"lr_factor": 5.0}]
    changes += [{"weights": kind} for kind in KINDS[1:]]
    trained = [learn(build("more", options=base | change, overrides=SHORT), tasks=1) for change in changes]
    trained.append(learn(build("finetune", overrides=SHORT), tasks=1))
    same = [(a, b) for a in range(len(trained)) for b in range(a) if same_weights(trained[a], trained[b])]
    assert same == []


def test_with_every_weight_at_one_all_kinds_are_uniform(build: Any, learn: Any, same_weights: Any) -> None:
    one = {"amplitude": 2.0, "clip": (1.0, 1.0)}
    uniform = learn(build("more", options={"amplitude": 2.0, "weights": "uniform"}, overrides=SHORT), tasks=1)
    for kind in KINDS:
        other = learn(build("more", options=one | {"weights": kind}, overrides=SHORT), tasks=1)
        assert same_weights(uniform, other), kind


@pytest.mark.parametrize("gradient", ["full", "student_only"])
def test_the_gradient_is_of_both_paths_or_of_the_full_one(build: Any, learn: Any, gradient: str) -> None:
    """Of the very loss that the step minimises, by a second computation."""
    checked: list[str] = []

    def look(strategy: Any) -> None:
        if strategy.position.step != 1 or strategy.position.epoch:
            return
        ours = {name: p.grad.clone() for name, p in strategy.model.named_parameters()}
        plugin = plugin_of(strategy)
        buffers = {name: value.clone() for name, value in strategy.model.named_buffers()}
        strategy.model.zero_grad()
        full = strategy.model(strategy.mb_x)
        with general_path(strategy.model):
            general = strategy.model(strategy.mb_x)
        if gradient == "student_only":
            general = general.detach()
        seen = strategy.mb_y[:, : full.shape[1]]
        alpha = 2.0 * math.sin(math.pi / (strategy.train_epochs * len(strategy.loader)))
        term = rebalancing_loss(full, general, seen, torch.from_numpy(plugin.weights).float())
        (strategy._criterion(full, strategy.mb_y) + alpha * term).backward()
        for name, parameter in strategy.model.named_parameters():
            torch.testing.assert_close(ours[name], parameter.grad, rtol=1e-3, atol=1e-5)
            parameter.grad.copy_(ours[name])
        for name, value in strategy.model.named_buffers():
            value.copy_(buffers[name])
        checked.append("yes")

    options = {"amplitude": 2.0, "gradient": gradient, "init_b": 0.05}
    learn(build("finetune+more", options=options, last=[Watch("after_backward", look)]), tasks=1)
    assert checked == ["yes"]


@pytest.mark.parametrize("spec", ["lwf+er+more", "rebll+more"])
def test_the_order_of_the_parts_does_not_matter(build: Any, learn: Any, same_weights: Any, spec: str) -> None:
    other = "+".join(reversed(spec.split("+")))
    one, two = (learn(build(order, options=ALIVE, overrides=SHORT), tasks=2) for order in (spec, other))
    assert same_weights(one, two)


# --- what training sees


@pytest.mark.parametrize("kappa", [0.0, 0.5])
def test_weights_are_those_of_the_tasks_mixture(build: Any, learn: Any, kappa: float) -> None:
    seen: list[Any] = []

    def look(strategy: Any) -> None:
        replay, rows = plugin_of(strategy, Replay), strategy.experience.dataset.rows()
        if strategy.position.epoch or not len(replay.memory):
            return
        classes = strategy.model.head.n_classes
        shown = (replay.store.targets(rows).numpy()[:, :classes] == 1).sum(axis=0)
        stored = np.clip(replay.memory.labels[:, :classes], 0, None).sum(axis=0)
        rho = (shown + stored) / (len(rows) + len(replay.memory))  # concat: each row once an epoch
        plugin = plugin_of(strategy)
        pi = rho ** (1 - kappa) * plugin.positives[:classes] ** kappa
        np.testing.assert_allclose(plugin.weights, np.clip(pi / pi.mean(), 0.02, 10), rtol=1e-6)
        seen.append(plugin.weights)

    learn(build("er+more", options={"kappa": kappa}, overrides=SHORT, last=[Watch("after_update", look)]))
    assert [len(weights) for weights in (seen[0], seen[-1])] == [8, 10]
    if not kappa:
        assert seen[0][:4].mean() < seen[0][4:].mean() / 2, "classes that only the memory holds should be tail"


def test_paired_replay_gives_the_memory_half_of_the_mixture(build: Any, learn: Any) -> None:
    template = learn(build("er+more", options={"replay": "paired"}, overrides=SHORT), tasks=1)
    replay = plugin_of(template, Replay)
    assert replay.share(500) == 0.5
    replay.mode = "concat"
    assert replay.share(3 * len(replay.memory)) == 0.25


@pytest.mark.parametrize(("policy", "counted"), [("distil", True), ("ignore", False), ("negative", False)])
def test_what_a_teacher_is_confident_of_counts_where_it_is_asked(
    build: Any, learn: Any, policy: str, counted: bool
) -> None:
    found: list[Any] = []

    def look(strategy: Any) -> None:
        rows, plugin = strategy.experience.dataset.rows(), plugin_of(strategy)
        teacher = plugin_of(strategy, Distillation).teacher
        if strategy.position.task and not strategy.position.epoch:
            teacher.head.bias.data[0] = 9.0  # sure of the first class, whatever it sees
            found.append((plugin._confident_positives(strategy, rows, strategy.model.head.n_classes), rows, strategy))

    watch = Watch("before_training_epoch", look)
    learn(build("lwf+more", options={"old_classes": policy}, overrides=SHORT, last=[watch]), tasks=2)
    told, rows, strategy = found[0]
    if not counted:
        assert told is None
        return
    unknown = plugin_of(strategy).store.targets(rows).numpy()[:, 0] < 0
    assert told[0] == unknown.sum() > 0
    assert (told[4:] == 0).all()
    assert 0.5 < CONFIDENT < 1


def test_all_positives_so_far_are_counted_once_a_task(build: Any, learn: Any) -> None:
    template = learn(build("finetune+more", overrides=SHORT))
    store, tasks = template.benchmark.train_rows, template.benchmark.train_stream
    shown = sum((store.targets(e.dataset.rows()).numpy() == 1).sum(axis=0) for e in tasks)
    np.testing.assert_array_equal(plugin_of(template).positives, shown)


# --- the report


class Courses(BaseLogger):
    """Tag of what the part reports -> steps and values."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, tuple[list[int], list[float]]] = {}

    def log_metrics(self, metric_values: Any) -> None:
        for metric in metric_values:
            if metric.name.startswith("more"):
                steps, values = self.values.setdefault(metric.name, ([], []))
                steps.append(metric.x_plot)
                values.append(metric.value)


def test_every_task_is_reported_with_the_evaluation_after_it(build: Any, learn: Any) -> None:
    sizes: list[dict[str, float]] = []
    first = Watch("finish_model", lambda strategy: sizes.append(relative_sizes(strategy.model)))
    courses = Courses()
    template = learn(build("er+more", overrides=SHORT, first=[first], loggers=[courses]))
    results = courses.values
    assert results["more/low_rank"][0] == [1, 2, 3]
    means = [np.mean(list(task.values())) for task in sizes]
    np.testing.assert_allclose(results["more/low_rank"][1], means)
    layers = {tag for tag in results if tag.startswith("more_low_rank/")}
    assert layers == {f"more_low_rank/{name.removesuffix('.weight')}" for name in sizes[0]}
    assert results["more_low_rank/backbone.stem.0"][1] == [task["backbone.stem.0.weight"] for task in sizes]
    for what in ("weight", "discrepancy"):
        lengths = sorted(len(values[0]) for tag, values in results.items() if tag.startswith(f"more_{what}/"))
        assert lengths == [1] * 2 + [2] * 4 + [3] * 4
    plugin = plugin_of(template)
    assert results["more/rank_correlation"][1][-1] == rank_correlation(plugin.discrepancy, plugin.weights)
    assert results["more/tail_to_head"][1][-1] == tail_to_head(plugin.discrepancy, plugin.weights)


def test_the_discrepancy_is_the_mean_square_over_the_last_epoch(build: Any, learn: Any) -> None:
    gaps: list[Tensor] = []

    def look(strategy: Any) -> None:
        if strategy.position.epoch == 1:
            model = strategy.model
            buffers = copy.deepcopy(dict(model.named_buffers()))
            with torch.no_grad():
                full = model(strategy.mb_x)
                with general_path(model):
                    gaps.append(full - model(strategy.mb_x))
            for name, value in model.named_buffers():
                value.copy_(buffers[name])

    template = learn(build("finetune+more", options=ALIVE, first=[Watch("before_forward", look)]), tasks=1)
    expected = torch.cat(gaps).double().square().mean(dim=0).numpy()
    np.testing.assert_allclose(plugin_of(template).discrepancy, expected, rtol=1e-4)


@pytest.mark.parametrize(("options", "collapsed"), [({}, True), ({"init_b": 0.5}, False)])
def test_a_collapse_is_warned_of(build: Any, learn: Any, caplog: Any, options: Any, collapsed: bool) -> None:
    with caplog.at_level(logging.WARNING, "clsim"):
        learn(build("finetune+more", options=options, overrides=SHORT | {"training.optimizer.lr": 1e-6}), tasks=1)
    assert ("more: after task 0 the low-rank parts have collapsed: mean" in caplog.text) == collapsed


def test_grouped_convolutions_are_named_once_in_the_log(build: Any, caplog: Any) -> None:
    plugin = plugin_of(build("more"))
    model = build_model(ModelSection(name="shufflenet_v2_x0_5", image_size=32), seed=0)
    with caplog.at_level(logging.INFO, "clsim"):
        plugin.before_training_exp(SimpleNamespace(model=model, position=SimpleNamespace(task=0)))
    assert "more: grouped convolutions are not decomposed: backbone.stage2.0.branch1.0.weight, " in caplog.text
    assert len(low_rank_parts(model)) == len(plugin.decomposed) > 30


# --- where it applies


def test_on_one_joint_task_it_trains_and_merges(build: Any, learn: Any) -> None:
    template = learn(build("finetune+more", overrides=SHORT | {"stream.increment": 10}))
    assert template.model.head.n_classes == 10
    assert list(template.model.state_dict()) == list(build("finetune").model.state_dict())


def test_under_a_frozen_backbone_only_the_hidden_layer_is_decomposed(build: Any, learn: Any) -> None:
    names: list[Any] = []
    look = Watch("before_training_epoch", lambda strategy: names.append(plugin_of(strategy).decomposed))
    overrides = {"training.model.freeze": "backbone", "training.model.hidden": 20}
    before = build("finetune+more", overrides=overrides, last=[look])
    backbone = copy.deepcopy(before.model.backbone.state_dict())
    after = learn(before).model
    assert set(map(tuple, names)) == {("hidden.0.weight",)}
    assert all(torch.equal(value, backbone[key]) for key, value in after.backbone.state_dict().items())


def test_a_frozen_backbone_without_a_hidden_layer_is_refused_with_an_example() -> None:
    config = load_scenario("digits-b0c2", {"training.model.freeze": "backbone"}).config
    with pytest.raises(StrategyError, match=r"more has nothing to decompose: .* set training\.model\.hidden"):
        Composition("er+more").check(config, 10)


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("ewc+more", {}, "ewc and more both decide the weights"),
        ("joint+more", {}, "joint retrains from scratch"),
        ("more", {"clip": [2, 1]}, r"more: given .*clip must ascend, such as \[0\.02, 10\], given \[2\.0, 1\.0\]"),
        ("more", {"rank": 0}, r"more\.rank: given 0, .*greater than 0"),
        ("more", {"kappa": 2}, r"more\.kappa: given 2, .*less than or equal to 1"),
        ("more", {"weights": "equal"}, r"more\.weights: given 'equal', .*'uniform'"),
    ],
)
def test_what_cannot_be_is_refused(spec: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(StrategyError, match=message):
        Composition(spec, options)


def test_it_shares_no_first_task_because_it_keeps_account_of_every_step() -> None:
    assert Composition("er+more").first_task_key() is None
