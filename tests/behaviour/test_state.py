"""A run continued from its state ends bit-identical, wherever it was interrupted."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from avalanche.core import SupervisedPlugin
from avalanche.training.plugins import ReplayPlugin
from torch import nn

from clsim.errors import RunError
from clsim.part_kinds import KINDS
from clsim.running.scoring.hand_in import HandIn
from clsim.training.claims import name_of
from clsim.training.composition import Composition
from clsim.training.memory.selection import make_selection
from clsim.training.strategy_specs import classes_of, registered, strategy_class
from clsim.training.template import MultiLabelTemplate
from tests.fixtures.tiny_vit import TINY_VIT

AFTER_A_STEP = [(0, 0, 1), (1, 0, 2), (1, 1, 1), (2, 1, 1)]
FAST = {"training.precision": "bfloat16", "training.model.channels_last": True, "training.clip_norm": 1.0}
AUGMENTED = {
    "training.augmentation": {"random_resized_crop": {}, "flip": 0.5, "colour": {"hue": 0.2}, "randaugment": {}}
}


class Stateless(SupervisedPlugin):
    """A plugin without state that can be saved."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class Snapshot(Stateless):
    """Copies the state after one step; placed last, behind Avalanche's clock."""

    def __init__(self, at: tuple[int, int, int] | None = None) -> None:
        super().__init__()
        self.at = at
        self.state: dict[str, Any] = {}

    def after_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        position = strategy.position
        if (position.task, position.epoch, position.step) == self.at:
            self.state = copy.deepcopy(strategy.state_dict())


class Dropping(nn.Module):
    """A backbone followed by dropout."""

    def __init__(self, backbone: Any) -> None:
        super().__init__()
        self.backbone = backbone
        self.n_features = backbone.n_features

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(self.backbone(x), 0.5, self.training)


class Logged(Stateless):
    """What a logger would write at each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[Any] = []

    def after_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
        counts = (strategy.samples_trained, dict(vars(strategy.clock)))
        self.lines.append((strategy.position.task, strategy.epoch_losses(), strategy.learning_rate, counts))


def with_dropout(template: MultiLabelTemplate) -> MultiLabelTemplate:
    template.model.backbone = Dropping(template.model.backbone)
    return template


METHODS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("finetune", {}, {}),
    ("lwf", {}, {}),
    ("er", {}, {}),
    ("er", {"replay": "concat"}, {}),
    ("er", {"selection": "reservoir"}, {}),
    ("er+derpp+bic", {"selection": "prs", "beta": 0.5}, {}),
    ("lwf+er", {}, {}),
    ("ewc", {"weight": 50.0}, {}),
    ("joint", {}, {}),
    ("lwf+er", {}, FAST),
    ("ewc+lwf", {}, {"training.model.freeze": "batch-norm"}),
    ("er", {}, {"evaluation.every": "epoch"}),
    ("akd", {}, {}),
    ("er+or", {"threshold": "adaptive", "current_classes": "refresh"}, {}),
    ("rebll", {"threshold": "prior"}, {}),
    ("er+identity", {"selection": "herding"}, {}),
    ("agcn+er", {"width": 8}, {}),
    ("csc+er", {"width": 8}, {}),
    ("krt+er", {"width": 16, "heads": 2}, {}),
    ("kbk+er", {"width": 8, "pseudo.threshold": 0.45}, {}),
    ("multi-lane+er+or", {"selectors": 3, "prompts": 2}, {"training.model": TINY_VIT}),
    ("lwf+er", {}, AUGMENTED),
    ("er", {"replay": "concat"}, AUGMENTED),
    ("cgc+pseudo+er+or", {"pseudo.threshold": 0.45, "or.threshold": "f1"}, {}),
    ("lwf+max-entropy+relational", {}, {}),
    ("rebll+more", {"init_b": 0.01, "lr_factor": 5.0, "gradient": "student_only"}, {"evaluation.every": "epoch"}),
]


@pytest.mark.parametrize("at", AFTER_A_STEP)
@pytest.mark.parametrize(("spec", "options", "overrides"), METHODS, ids=str)
def test_a_run_continues_after_any_step_to_the_same_end(
    build: Any, learn: Any, same_weights: Any, through_file: Any, spec: str, options: Any, overrides: Any, at: Any
) -> None:
    snapshot, whole, rest = Snapshot(at), Logged(), Logged()
    uninterrupted = learn(build(spec, options=options, overrides=overrides, last=[whole, snapshot]))
    continued = build(spec, options=options, overrides=overrides, last=[rest, Snapshot()])
    continued.load_state_dict(through_file(snapshot.state))
    assert same_weights(learn(continued), uninterrupted)
    assert rest.lines == whole.lines[-len(rest.lines) :]
    assert len(rest.lines) == 2 * (3 - at[0]) - at[1]


ZOO: list[tuple[str, dict[str, Any]]] = [
    ("oewc", {"weight": 50.0}),
    ("si", {"weight": 50.0}),
    ("mas", {}),
    ("a-gem+lwf+wa", {"a-gem.selection": "herding"}),
    ("gdumb", {"selection": "reservoir"}),
    ("cls-er+podnet", {"stable_rate": 0.5}),
    ("ocdm", {}),
    ("er", {"selection": "cbrs"}),
    ("er", {"selection": "gss"}),
    ("lwf+moments", {"features": "transport"}),
]
NO_LATER_STEP = {"l3a": {"features": "first-task", "expansion": 64}}
"""Methods that train the first task only, and continue between tasks."""
ON_FEATURES_ONLY = {"feature-replay"}
"""Methods of tests/gpu_sim/test_resume.py, which has cached features."""


def test_every_shipped_strategy_is_covered() -> None:
    """A name for parts counts as its parts."""
    specs = [*(spec for spec, *_ in [*METHODS, *ZOO]), *NO_LATER_STEP]
    named = {name_of(kind) for spec in specs for kind in classes_of(spec)}
    assert {name for name in registered() if not strategy_class(name).made_of} - ON_FEATURES_ONLY == named


def test_every_selection_with_a_state_is_covered() -> None:
    named = {str(value) for spec, options, *_ in [*METHODS, *ZOO] for value in _selections(spec, options)}
    stateful = {name for name in KINDS["selection"].shipped if hasattr(make_selection(name, {}, ""), "state_dict")}
    assert {"prs", "ocdm", "cbrs", "gss"} <= stateful <= named


def _selections(spec: str, options: dict[str, Any]) -> list[Any]:
    return [part["selection"] for part in Composition(spec, options).options().values() if "selection" in part]


@pytest.mark.parametrize(("spec", "options"), ZOO, ids=str)
def test_a_run_of_any_method_continues_inside_a_later_task(
    build: Any, learn: Any, same_weights: Any, through_file: Any, spec: str, options: Any
) -> None:
    test_a_run_continues_after_any_step_to_the_same_end(
        build, learn, same_weights, through_file, spec, options, {}, (1, 0, 1)
    )


@pytest.mark.parametrize("at", AFTER_A_STEP)
def test_a_run_scored_between_steps_continues_to_the_same_passes(
    build: Any, learn: Any, same_weights: Any, through_file: Any, at: tuple[int, int, int]
) -> None:
    def passes(template: MultiLabelTemplate) -> torch.Tensor:
        state: torch.Tensor = desk(template).state_dict()["metrics"][0]["inside"]
        return state

    def desk(template: MultiLabelTemplate) -> Any:
        scorer: Any = HandIn.of(template).scorer
        return scorer.desk

    def keep(template: MultiLabelTemplate) -> None:
        if template.position.place == at:
            kept.append(copy.deepcopy([template.state_dict(), desk(template).state_dict()]))

    kept: list[list[dict[str, Any]]] = []
    whole, rest = Logged(), Logged()
    uninterrupted, continued = (
        build("er", overrides={"evaluation.every": {"images": 25}}, last=[logged]) for logged in (whole, rest)
    )
    uninterrupted.at_cut = keep
    learn(uninterrupted)
    of_training, of_scores = through_file(kept[0])
    continued.load_state_dict(of_training)
    desk(continued).load_state_dict(of_scores)
    assert same_weights(learn(continued), uninterrupted)
    assert rest.lines == whole.lines[-len(rest.lines) :]  # with the clock, which counts the batches of passes too
    assert torch.equal(passes(continued), passes(uninterrupted))
    assert continued.images == uninterrupted.images


@pytest.mark.parametrize("tasks", [1, 2])
@pytest.mark.parametrize("spec", ["finetune", "lwf+er", "ewc", "joint", "lwf+er+more", *NO_LATER_STEP])
def test_a_run_continues_between_tasks_to_the_same_end(
    build: Any, learn: Any, same_weights: Any, through_file: Any, spec: str, tasks: int
) -> None:
    options = NO_LATER_STEP.get(spec, {})
    uninterrupted = learn(build(spec, options=options), tasks=tasks)
    continued = build(spec, options=options)
    continued.load_state_dict(through_file(uninterrupted.state_dict()))
    learn(uninterrupted)
    assert same_weights(learn(continued), uninterrupted)


@pytest.mark.parametrize("at", AFTER_A_STEP)
def test_dropout_continues_with_the_same_masks(
    build: Any, learn: Any, same_weights: Any, through_file: Any, at: tuple[int, int, int]
) -> None:
    snapshot = Snapshot(at)
    uninterrupted = learn(with_dropout(build("er", last=[snapshot])))
    continued = with_dropout(build("er", last=[Snapshot()]))
    continued.load_state_dict(through_file(snapshot.state))
    assert same_weights(learn(continued), uninterrupted)


def test_hooks_before_the_interruption_are_not_replayed(build: Any, learn: Any) -> None:
    class Begin(Stateless):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[str] = []

        def before_training(self, strategy: Any, **kwargs: Any) -> None:
            self.seen.append("run")

        def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
            self.seen.append(f"task {strategy.position.task}")

        def before_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
            self.seen.append(f"epoch {strategy.position.epoch}")

    snapshot, begin = Snapshot((1, 0, 1)), Begin()
    learn(build(last=[Begin(), snapshot]))
    continued = build(last=[begin, Snapshot()])
    continued.load_state_dict(snapshot.state)
    learn(continued)
    assert begin.seen == ["epoch 1", "run", "task 2", "epoch 0", "epoch 1"]


def test_what_a_plugin_froze_and_put_in_eval_mode_stays_so(build: Any, learn: Any, same_weights: Any) -> None:
    class Freeze(Stateless):
        def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
            strategy.model.backbone.stem.requires_grad_(False).eval()

    snapshot = Snapshot((1, 0, 1))
    uninterrupted = learn(build(last=[Freeze(), snapshot]))
    continued = build(last=[Freeze(), Snapshot()])
    continued.load_state_dict(snapshot.state)
    assert same_weights(learn(continued), uninterrupted)


@pytest.mark.parametrize("step", [1, 2])
def test_a_request_to_stop_outlives_the_interruption(build: Any, learn: Any, same_weights: Any, step: int) -> None:
    class Stop(Stateless):
        def before_forward(self, strategy: Any, **kwargs: Any) -> None:
            at = strategy.position
            if (at.task, at.epoch, at.step) == (1, 0, step - 1):
                strategy.stop_training()

    snapshot, whole, rest = Snapshot((1, 0, step)), Logged(), Logged()
    uninterrupted = learn(build(last=[Stop(), whole, snapshot]))
    continued = build(last=[Stop(), rest, Snapshot()])
    continued.load_state_dict(snapshot.state)
    assert same_weights(learn(continued), uninterrupted)
    assert rest.lines == whole.lines[-len(rest.lines) :]
    assert [task for task, *_ in rest.lines] == [1, 2, 2]


def test_a_plugin_without_state_makes_a_run_not_resumable_by_name(build: Any, learn: Any) -> None:
    class Forgetful(SupervisedPlugin):
        pass

    template = learn(build(first=[Forgetful()]), tasks=1)
    with pytest.raises(RunError, match="not resumable: plugin Forgetful has no state_dict"):
        template.state_dict()


def test_a_replaced_data_loader_makes_a_run_not_resumable(build: Any, learn: Any) -> None:
    class Remembering(ReplayPlugin, Stateless):
        pass

    with pytest.raises(RunError, match="not resumable: a plugin has replaced the data loader"):
        learn(build(last=[Remembering(mem_size=10), Snapshot((1, 0, 1))]))
