"""An online stream: each image once, in batches, and a memory that changes after each of them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from avalanche.core import SupervisedPlugin
from numpy.typing import NDArray

import clsim
from clsim import kit
from clsim.randomness import raw_integers
from clsim.report.compared import compared
from clsim.report.page import render_html
from clsim.report.results import load_results
from clsim.report.text import render_markdown
from clsim.running.scoring.hand_in import HandIn
from clsim.scenario import Scenario, load_scenario
from clsim.scenario.plan.description import describe
from clsim.scenario.plan.difference import difference
from clsim.scenario.plan.planning import joint_plan
from clsim.sealing import Sealed
from clsim.training.memory.relabelling import OnlineRelabelling
from clsim.training.memory.replay import Replay
from clsim.training.template import MultiLabelTemplate

BOARD_ONLINE = "6c651cbcebe7cf9df5771f7094bf76bd82709ff61e95ba5fc8ff3dd6f0522d0f"
ONLINE = {
    "stream.online.batch": 10,
    "training.epochs": 1,
    "training.batch_size": 10,
    "memory.budget": {"total": 12},
    "labels.visible": {"keep": 0.8},
}
STREAMED = {"er.selection": "reservoir", "er.replay": "paired"}


class Watch(kit.Plugin):
    """New rows of each step, the memory after it, and when its listeners are called."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[NDArray[np.int64]] = []
        self.kept: list[NDArray[np.int64]] = []
        self.calls: list[tuple[str, int, int]] = []
        self.passes: list[int] = []

    def after_forward(self, learner: Any, **kwargs: Any) -> None:
        rows = learner.rows[~learner.replayed].numpy()
        assert np.array_equal(rows, learner.loader.new_rows)
        self.steps.append(rows)
        if self.kept:
            replayed = learner.rows[learner.replayed].numpy()
            assert np.isin(replayed, self.kept[-1]).all()
            assert len(replayed) == len(rows) > 0

    def batch_stored(self, learner: Any, replay: Replay, **kwargs: Any) -> None:
        self.calls.append(("batch", *learner.position.place[::2]))
        self.kept.append(replay.memory.rows.copy())

    def memory_updated(self, learner: Any, replay: Replay, **kwargs: Any) -> None:
        self.calls.append(("task", *learner.position.place[::2]))

    def before_eval(self, learner: Any, **kwargs: Any) -> None:
        if learner.position.started:
            self.passes.append(learner.images.run)

    def state_dict(self) -> dict[str, Any]:
        return {}


@pytest.fixture
def watched(build: Any, learn: Any) -> tuple[MultiLabelTemplate, Watch]:
    """A run of er with a reservoir, scored after every 25 images."""
    watch = Watch()
    overrides = ONLINE | {"evaluation.every": {"images": 25}}
    return learn(build("lwf+er", options=STREAMED, overrides=overrides, last=[watch])), watch


def equal_bytes(first: Any, second: Any) -> bool:
    """Tell whether two states, tensors in dictionaries, hold the same, nan included."""
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal_bytes(first[key], second[key]) for key in first)
    if isinstance(first, torch.Tensor):
        return bool(first.numpy().tobytes() == second.numpy().tobytes())
    return repr(first) == repr(second)


def passes(template: MultiLabelTemplate) -> torch.Tensor:
    """Values of the passes inside tasks so far."""
    found: torch.Tensor = desk(template).state_dict()["metrics"][0]["inside"]
    return found


def desk(template: MultiLabelTemplate) -> Any:
    """What scores the run, in this process."""
    scorer: Any = HandIn.of(template).scorer
    return scorer.desk


def test_each_row_comes_once_and_in_its_task(watched: tuple[MultiLabelTemplate, Watch]) -> None:
    template, watch = watched
    rows = [experience.dataset.rows() for experience in template.benchmark.train_stream]
    met = np.concatenate(watch.steps)
    assert np.array_equal(np.sort(met), np.concatenate(rows))
    ends = np.cumsum([len(task) for task in rows])
    for task, part in zip(rows, np.split(met, ends[:-1]), strict=True):
        assert np.array_equal(np.sort(part), task)
        assert not np.array_equal(part, task), "in an order that the seed decides"
    assert {len(step) for step in watch.steps} <= {*range(2, 12)}
    assert sum(len(step) == 10 for step in watch.steps) >= len(watch.steps) - 2 * len(rows)


def test_after_each_step_the_memory_is_the_reservoir_of_the_rows_that_have_come(
    watched: tuple[MultiLabelTemplate, Watch],
) -> None:
    template, watch = watched
    assert len(watch.kept) == len(watch.steps) > 10
    for step, kept in enumerate(watch.kept):
        come = np.concatenate(watch.steps[: step + 1])
        keys = raw_integers(int(come.max()) + 1, 0, "reservoir")[come]
        assert np.array_equal(np.sort(kept), np.sort(come[np.argsort(keys)[:12]]))
    memory = template.find_plugin(Replay).memory
    shown = template.benchmark.train_rows.targets(memory.rows).numpy()
    assert np.array_equal(memory.labels, shown), "labels as they were seen when the rows came"
    assert np.array_equal(memory.provenance == 0, shown >= 0)
    task_of = np.digitize(memory.rows, np.cumsum([len(e.dataset) for e in template.benchmark.train_stream]))
    assert np.array_equal(memory.stored_by, task_of)


def test_listeners_are_called_after_each_step_and_once_per_task(watched: tuple[MultiLabelTemplate, Watch]) -> None:
    template, watch = watched
    steps = [len(e.dataset) // 10 + (len(e.dataset) % 10 > 1) for e in template.benchmark.train_stream]
    expected: list[tuple[str, int, int]] = []
    for task, n in enumerate(steps):
        expected += [("batch", task, step + 1) for step in range(n)]
        expected.append(("task", task, 0))
    assert watch.calls == expected


def test_passes_are_so_many_images_apart_through_the_whole_stream(watched: tuple[MultiLabelTemplate, Watch]) -> None:
    """Each comes after the first step that reaches another multiple, also where a task ends between two."""
    template, watch = watched
    counts = np.cumsum([len(step) for step in watch.steps])
    reached = [int(counts[np.searchsorted(counts, multiple)]) for multiple in range(25, int(counts[-1]) + 1, 25)]
    assert watch.passes == reached
    assert len(reached) == counts[-1] // 25 == 4
    assert len(passes(template)) == len(reached)


def test_old_classes_of_the_rows_of_a_step_are_filled(build: Any, learn: Any) -> None:
    """`pseudo` with a fixed threshold asks for no row that has not come."""
    seen = []

    class Look(kit.Plugin):
        def after_forward(self, learner: kit.Learner, **kwargs: Any) -> None:
            if learner.position.task:
                seen.append(learner.mb_y[:, learner.experience.old_classes].clone())

    options = {"rule": "fixed", "threshold": 0.5}
    learn(build("pseudo", options=options, overrides=ONLINE, last=[Look()]))
    assert {0.0, 1.0} == set(torch.cat([y.flatten() for y in seen]).tolist())


def test_a_memory_is_relabelled_once_per_task(build: Any, learn: Any) -> None:
    """`or` asks the model that has been trained on the task; labels that it has written stay until the next task."""
    replay = learn(build("er+or", options=STREAMED, overrides=ONLINE)).find_plugin(Replay)
    memory = replay.memory
    assert set(memory.stored_by.tolist()) == {0, 1, 2}
    assert (memory.provenance[memory.stored_by < 2] >= 0).mean() > 0.8, "only labels that keep hides stay unknown"
    plain = learn(build("er", options=STREAMED, overrides=ONLINE)).find_plugin(Replay).memory
    assert np.array_equal(memory.rows, plain.rows)
    assert build("er+or", options=STREAMED, overrides=ONLINE).find_plugin(OnlineRelabelling) is not None


def test_each_row_has_its_stored_logits_from_the_step_that_brought_it(build: Any, learn: Any) -> None:
    memory = learn(build("er+derpp", options=STREAMED, overrides=ONLINE)).find_plugin(Replay).memory
    seen = np.array([4, 8, 10])[memory.stored_by]
    known = ~np.isnan(memory.payload["logits"])
    assert np.array_equal(known, np.arange(10) < seen[:, None]), "of the classes that the head had then"


class Peek(SupervisedPlugin):
    """Asks for rows that have not come."""

    def __init__(self, event: str) -> None:
        super().__init__()
        setattr(self, event, self.look)

    def look(self, strategy: Any, **kwargs: Any) -> None:
        rows = strategy.experience.dataset.rows()
        come = strategy.loader.new_rows if strategy.position.step == 1 else rows[:0]
        strategy.store.images(come)
        with pytest.raises(Sealed, match=r"row \d+ has not come yet: stream\.online has each row once"):
            strategy.store.targets(np.setdiff1d(rows, come))
        with pytest.raises(Sealed, match="has not come yet"):
            strategy.experience.dataset.__getitems__(range(len(rows)))


@pytest.mark.parametrize("event", ["before_training_exp", "after_train_dataset_adaptation", "after_training_iteration"])
def test_a_row_that_has_not_come_is_closed(build: Any, learn: Any, event: str) -> None:
    class Once(Peek):
        def look(self, strategy: Any, **kwargs: Any) -> None:
            if strategy.position.step <= 1:
                super().look(strategy, **kwargs)

    learn(build("finetune", overrides=ONLINE, last=[Once(event)]), tasks=2)


PAIRED = {"er.replay": "paired"}
MEMORIES = [
    ("rebll", PAIRED),
    ("icarl", PAIRED),
    ("cls-er", {}),
    ("gdumb", {}),
    ("a-gem", {}),
    ("er-ace", {}),
    ("krt+er+or", PAIRED | {"width": 16, "heads": 2}),
    ("csc+er", PAIRED | {"csc.width": 8}),
    ("pseudo+er", PAIRED | {"rule": "fixed"}),
    *[("er+derpp", PAIRED | {"er.selection": selection}) for selection in ("class-balanced", "prs", "ocdm")],
    *[("er", PAIRED | {"er.selection": selection}) for selection in ("herding", "cbrs", "label-density")],
]


@pytest.mark.parametrize(("spec", "options"), MEMORIES, ids=lambda value: str(value))
def test_each_memory_method_learns_the_stream(build: Any, learn: Any, spec: str, options: dict[str, Any]) -> None:
    """Those that need the whole of a task are refused: `tests/training/test_online.py`."""
    template = learn(build(spec, options=options, overrides=ONLINE))
    memory = template.find_plugin(Replay).memory
    assert len(memory) == 12
    assert set(memory.stored_by.tolist()) == {0, 1, 2}
    assert all(np.isfinite(parameter.detach().numpy()).all() for parameter in template.model.parameters())


def test_logits_are_kept_as_they_were_at_the_step_that_stored_the_row(build: Any, learn: Any) -> None:
    class Logits(kit.Plugin):
        def batch_stored(self, learner: Any, replay: Replay, **kwargs: Any) -> None:
            kept = replay.memory.payload["logits"]
            assert not np.isnan(kept[:, 0]).any()
            new = np.isin(replay.memory.rows, learner.loader.new_rows)
            now = learner.scored(learner.model, replay.store, replay.memory.rows[new])
            assert np.array_equal(kept[new, : learner.model.n_classes], now)

        def state_dict(self) -> dict[str, Any]:
            return {}

    learn(build("er+derpp", options=STREAMED, overrides=ONLINE, last=[Logits()]), tasks=2)


@pytest.mark.parametrize(
    ("spec", "options"),
    [
        ("lwf+er", STREAMED),
        ("rebll", STREAMED | {"er.selection": "prs"}),
        ("er+derpp", STREAMED | {"er.selection": "ocdm"}),
    ],
)
def test_a_run_goes_on_after_each_step_to_the_same_end(
    build: Any, learn: Any, same_weights: Any, through_file: Any, spec: str, options: dict[str, Any]
) -> None:
    overrides = ONLINE | {"evaluation.every": {"images": 25}}
    states: dict[tuple[int, int, int], Any] = {}
    whole = build(spec, options=options, overrides=overrides)
    whole.at_cut = lambda template: states.update(
        {template.position.place: copy.deepcopy([template.state_dict(), desk(template).state_dict()])}
    )
    learn(whole)
    memory = whole.find_plugin(Replay).memory.state_dict()
    places = [(0, 0, 1), (1, 0, 3), max(place for place in states if place[0] == 1), (2, 0, 2)]
    for place in places:
        continued = build(spec, options=options, overrides=overrides)
        for owner, state in zip((continued, desk(continued)), through_file(states[place]), strict=True):
            owner.load_state_dict(state)
        assert same_weights(learn(continued), whole), place
        kept = continued.find_plugin(Replay).memory.state_dict()
        assert equal_bytes(kept, memory), place
        assert torch.equal(passes(continued), passes(whole))


# --- the plan


def test_the_shipped_plan_keeps_its_hash() -> None:
    assert load_scenario("board-online").plan().sha256 == BOARD_ONLINE


@pytest.fixture
def online(tiny_overrides: dict[str, Any]) -> Scenario:
    return load_scenario("digits-b0c2", tiny_overrides | ONLINE)


def test_a_plan_says_that_it_is_online_and_only_its_rows_are_the_same(
    online: Scenario, tiny_overrides: dict[str, Any]
) -> None:
    plan = online.plan()
    offline = load_scenario("digits-b0c2", tiny_overrides | {"labels.visible": {"keep": 0.8}}).plan()
    assert plan.online == 10
    assert offline.online is None
    assert plan.sha256 != offline.sha256
    assert all(np.array_equal(a.values, b.values) for a, b in zip(plan.tasks, offline.tasks, strict=True))
    again = clsim.StreamPlan.from_bytes(plan.to_bytes())
    assert (again.online, again.sha256) == (10, plan.sha256)
    assert b"online" not in json.dumps(describe(offline, online.truth())).encode()
    assert describe(plan, online.truth())["online"] == 10
    assert difference(plan, offline)["online"] == [10, None]
    assert "online: each row once, 10 at a time" in plan._repr_html_()
    joint = joint_plan(plan, online.truth())
    assert (joint.online, joint.derived_from) == (None, plan.sha256)


def test_the_upper_reference_is_not_online_and_a_report_names_the_stream(
    tiny_overrides: dict[str, Any], tmp_path: Path
) -> None:
    overrides = tiny_overrides | ONLINE | {"stream.online.joint_epochs": 2, "evaluation.every": {"images": 25}}
    runs = {spec: clsim.run("digits-b0c2", spec, overrides=overrides, out=tmp_path) for spec in ("finetune", "joint")}
    trained = {spec: (run.folder / "metrics.jsonl").read_text().count('"phase": "train"') for spec, run in runs.items()}
    assert trained == {"finetune": 3, "joint": 2 * 3}
    assert runs["joint"].record.anytime_mAP is None, "what begins anew has no course over the stream"
    assert runs["finetune"].record.anytime_mAP is not None
    assert runs["joint"].record.derived_from == runs["finetune"].record.plan_sha256
    both = compared(load_results(tmp_path / "digits-b0c2"))
    for text in (render_markdown(both), render_html(both)):
        assert "online, 10 new images a step, each image of a task once" in text
