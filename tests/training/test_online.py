"""What an online stream refuses, by name and before anything is trained."""

from __future__ import annotations

from typing import Any

import pytest

from clsim.errors import RunError, StrategyError
from clsim.launch.variants import as_variants
from clsim.part_kinds import KINDS
from clsim.scenario import load_scenario
from clsim.training.composition import Composition

ONLINE = {"stream.online.batch": 10, "training.epochs": 1, "training.batch_size": 10}
STREAMED = {"er.selection": "reservoir", "er.replay": "paired"}
ON_FEATURES = {"training.model.freeze": "backbone", "training.model.cache_features": True}


def check(spec: str, options: dict[str, Any] | None = None, overrides: dict[str, Any] | None = None) -> None:
    Composition(spec, options).check(load_scenario("digits-b0c2", {**ONLINE, **(overrides or {})}).config, 10)


def test_a_memory_that_needs_whole_tasks_is_refused_with_all_that_must_change() -> None:
    with pytest.raises(StrategyError) as error:
        check("er", {"current_classes": "refresh"})
    assert str(error.value) == (
        "strategy.er.replay: given 'concat', which mixes a memory into the whole of a task, allowed: paired; "
        "strategy.er.current_classes: given 'refresh', which labels the memory once before an epoch, allowed: "
        "negative, ignore; because stream.online has a memory change after each step; "
        "type --set strategy.er.replay=paired --set strategy.er.current_classes=negative, or in a list of strategies "
        "NAME(er.replay=paired, er.current_classes=negative)"
    )


@pytest.mark.parametrize("spec", ["er", "icarl", "rebll"])
def test_what_a_refusal_says_to_type_is_taken(spec: str) -> None:
    config = load_scenario("digits-b0c2", ONLINE).config
    with pytest.raises(StrategyError) as error:
        Composition(spec).check(config, 10)
    _, typed = str(error.value).split("; type --set strategy.")
    option, named = typed.split(", or in a list of strategies ")
    key, value = option.split("=")
    Composition(spec, {key: value}).check(config, 10)
    (variant,) = as_variants([named.replace("NAME", spec)])
    Composition(variant.spec, variant.options).check(config, 10)


@pytest.mark.parametrize("selection", KINDS["selection"].shipped)
def test_each_shipped_selection_takes_rows_in_batches(selection: str) -> None:
    check("rebll", STREAMED | {"er.selection": selection}, {"training.augmentation.flip": 0.5})


@pytest.mark.parametrize("spec", ["finetune", "lwf", "akd", "lwf+er", "er+or", "rebll", "prs", "ocdm", "joint"])
def test_what_needs_no_more_than_a_batch_is_taken(spec: str) -> None:
    check(spec, STREAMED if "er" in Composition(spec).options() else {})


@pytest.mark.parametrize(
    ("spec", "options", "overrides"),
    [
        ("agcn", {}, {}),
        ("ewc", {}, {}),
        ("finetune+more", {}, {}),
        ("feature-replay", {}, ON_FEATURES),
        ("moments", {}, ON_FEATURES),
        ("l3a", {}, ON_FEATURES),
        ("pseudo", {}, {}),
        ("er+identity", STREAMED, {}),
        ("er+or", STREAMED | {"or.threshold": "adaptive"}, {}),
        ("er+or", STREAMED | {"or.threshold": "f1"}, {}),
        ("er+bic", STREAMED, {}),
        ("mas", {}, {}),
        *[("pseudo", {"rule": rule}, {}) for rule in ("dynamic", "recall", "uncertain", "f1")],
    ],
)
def test_a_part_that_needs_a_whole_task_is_refused_by_name(spec: str, options: Any, overrides: Any) -> None:
    part = spec.partition("+")[2] or spec
    text = rf"{part}.* all images of a task together; stream\.online has them once each, 10 at a time"
    with pytest.raises(StrategyError, match=text):
        check(spec, options, overrides | {"stream.assignment": "overlap"})
    Composition(spec, options).check(load_scenario("digits-b0c2", overrides).config, 10)


OWN = """
import numpy as np


def by_size(labels, seed, task, count):
    return np.arange(len(labels))


class Newest:
    takes_batches = True

    def choose(self, memory, task, features=None):
        return np.arange(len(memory))[-memory.budget.of_all(memory.tasks[task].stop):]


class Late(Newest):
    takes_batches = False
"""


def test_a_selection_of_the_users_says_whether_it_takes_batches(tmp_path: Any, build: Any, learn: Any) -> None:
    file = tmp_path / "own.py"
    file.write_text(OWN)
    check("er", STREAMED | {"er.selection": f"{file}:by_size"})
    for part, options in (("er", STREAMED), ("a-gem", {})):
        with pytest.raises(StrategyError, match=rf"{part}\.selection: given .*Late.*takes_batches = True.*=reservoir"):
            check(part, {**options, f"{part}.selection": f"{file}:Late"})
    options = STREAMED | {"er.selection": f"{file}:Newest"}
    template = learn(build("er", options=options, overrides=ONLINE | {"memory.budget": {"total": 10}}))
    memory = next(plugin.memory for plugin in template.plugins if hasattr(plugin, "memory"))
    assert memory.rows.tolist() == template.loader.new_rows.tolist()[-10:] or len(template.loader.new_rows) < 10


STRATEGY = """
from avalanche.training.plugins import ReplayPlugin
from clsim import kit


class Mine(kit.Strategy):
    def plugins(self, context):
        selection = kit.ClassBalancedSelection()
        memory = kit.Memory(context.budget, selection, context.tasks, context.seed)
        return [kit.Replay(memory, context.rows, "concat", "negative", "distil")]


class Counting(kit.Strategy):
    def criterion(self):
        return kit.CountedLoss(lambda logits, targets, counts: logits.sum())


class Stock(kit.Strategy):
    def plugins(self, context):
        return [ReplayPlugin(20)]
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Mine", r"Replay\.replay: given 'concat', which mixes"),
        ("Counting", r"a loss with class frequencies .*stream\.online"),
        ("Stock", r"ReplayPlugin has replaced the data loader"),
    ],
)
def test_parts_of_the_users_are_held_to_it_too(tmp_path: Any, build: Any, learn: Any, name: str, message: str) -> None:
    file = tmp_path / "own.py"
    file.write_text(STRATEGY)
    with pytest.raises((StrategyError, RunError), match=message):
        learn(build(f"{file}:{name}", overrides=ONLINE))


def test_a_memory_shares_no_first_task_of_an_online_stream() -> None:
    config, offline = load_scenario("digits-b0c2", ONLINE).config, load_scenario("digits-b0c2").config
    er, finetune = Composition("er", STREAMED), Composition("finetune")
    assert er.first_task_key(config) is None
    assert er.first_task_key(offline) is not None
    assert finetune.first_task_key(config) == Composition("lwf").first_task_key(config) is not None


def test_joint_takes_its_own_passes() -> None:
    config = load_scenario("digits-b0c2", ONLINE | {"stream.online.joint_epochs": 4}).config
    assert Composition("joint").training(config).epochs == 4
    assert Composition("finetune").training(config).epochs == 1
    assert Composition("joint").training(load_scenario("digits-b0c2").config).epochs == 10
