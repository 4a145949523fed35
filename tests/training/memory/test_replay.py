"""Replay adds the right memory rows, and its policies act on the batch alone.

The stream has tasks of columns 0-3, 4-7 and 8-9, so that in task 2 a row stored by task 0 has unknown classes of the
current task (8-9) and of another one (4-7).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from avalanche.core import SupervisedPlugin

from clsim.training.memory.replay import Replay
from tests.fixtures.templates import opened


class Batches:
    """Records every batch as the losses meet it, and what the memory held then."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        self.own = len(strategy.mb_x)

    def before_backward(self, strategy: Any, **kwargs: Any) -> None:
        memory = replay_of(strategy).memory
        self.seen.append(
            {
                "task": strategy.position.task,
                "epoch": strategy.position.epoch,
                "own": self.own,
                "x": strategy.mb_x.clone(),
                "y": strategy.mb_y.clone(),
                "rows": strategy.rows.clone(),
                "replayed": strategy.replayed.clone(),
                "distillable": strategy.distillable.clone(),
                "logits": strategy.mb_output.shape,
                "memory": memory.rows.copy(),
                "labels": dict(zip(memory.rows.tolist(), memory.labels.copy(), strict=True)),
            }
        )


def replay_of(template: Any) -> Replay:
    return next(plugin for plugin in template.plugins if isinstance(plugin, Replay))


@pytest.fixture
def batches_of(build: Any, learn: Any) -> Any:
    """Trains an er with options and returns its batches."""

    def run(**options: Any) -> list[dict[str, Any]]:
        batches = Batches()
        spec = options.pop("spec", "er")
        learn(build(spec, options=options, first=[batches]))
        return batches.seen

    return run


# --- which rows


def test_paired_adds_as_many_memory_rows_as_there_are_new_ones(batches_of: Any) -> None:
    for batch in batches_of(replay="paired"):
        assert batch["replayed"].tolist() == [False] * batch["own"] + [True] * (batch["own"] if batch["task"] else 0)
        assert set(batch["rows"][batch["replayed"]].tolist()) <= set(batch["memory"].tolist())


def test_paired_draws_other_rows_at_each_step(batches_of: Any) -> None:
    drawn = [tuple(b["rows"][b["replayed"]].tolist()) for b in batches_of(replay="paired") if b["task"]]
    assert len(set(drawn)) == len(drawn)


def test_concat_meets_each_new_and_each_memory_row_once_an_epoch(batches_of: Any) -> None:
    batches = batches_of(replay="concat")
    for task in (0, 1, 2):
        for epoch in (0, 1):
            steps = [b for b in batches if (b["task"], b["epoch"]) == (task, epoch)]
            replayed = torch.cat([b["rows"][b["replayed"]] for b in steps])
            own = torch.cat([b["rows"][~b["replayed"]] for b in steps])
            assert sorted(replayed.tolist()) == sorted(steps[0]["memory"].tolist())
            assert len(set(own.tolist())) == len(own)
            assert all(len(b["rows"]) == 16 for b in steps[:-1])


def test_concat_trains_on_batches_of_memory_rows_only(build: Any, learn: Any) -> None:
    batches = Batches()
    overrides = {"training.batch_size": 2, "training.epochs": 1}
    template = learn(build("er", options={"replay": "concat"}, overrides=overrides, first=[batches]))
    assert any(batch["own"] == 0 for batch in batches.seen)
    assert all(torch.isfinite(value).all() for value in template.model.state_dict().values())


def test_a_memory_row_comes_with_its_own_image(build: Any, learn: Any) -> None:
    batches = Batches()
    template = learn(build("er", first=[batches]))
    store = template.benchmark.train_rows
    for batch in batches.seen:
        assert torch.equal(batch["x"], store.images(batch["rows"].numpy()))


def test_the_head_scores_memory_rows_as_all_others(batches_of: Any) -> None:
    assert all(b["logits"][0] == len(b["rows"]) for b in batches_of())


# --- what unknown entries mean


@pytest.mark.parametrize("current", ["negative", "ignore"])
@pytest.mark.parametrize("other", ["distil", "negative", "ignore"])
@pytest.mark.parametrize("mode", ["paired", "concat"])
def test_policies_give_exactly_these_targets(batches_of: Any, mode: str, current: str, other: str) -> None:
    starts = {0: (0, 4), 1: (4, 8), 2: (8, 10)}
    for batch in batches_of(replay=mode, current_classes=current, other_classes=other):
        start, stop = starts[batch["task"]]
        replayed = batch["replayed"]
        for row, y in zip(batch["rows"][replayed].tolist(), batch["y"][replayed], strict=True):
            expected = batch["labels"][row].copy()
            unknown = expected == -1
            columns = np.arange(10)
            if current == "negative":
                expected[unknown & (columns >= start) & (columns < stop)] = 0
            if other == "negative":
                expected[unknown & (columns < start)] = 0
            assert y.tolist() == expected.tolist()
        assert batch["distillable"].tolist() == (~replayed | (other != "ignore")).tolist()


def test_policies_for_memory_rows_leave_new_rows_alone(build: Any, learn: Any) -> None:
    batches = Batches()
    template = learn(build("er", options={"other_classes": "negative"}, first=[batches]))
    for batch in batches.seen:
        new = ~batch["replayed"]
        assert torch.equal(batch["y"][new], template.benchmark.train_rows.targets(batch["rows"][new].numpy()))


def test_policies_never_reach_the_memory_or_the_stream(build: Any, learn: Any) -> None:
    options = {"er.other_classes": "negative", "er.current_classes": "negative", "finetune.old_classes": "negative"}
    template = build("finetune+er", options=options)
    store = template.benchmark.train_rows
    rows = np.arange(sum(len(experience.dataset) for experience in template.benchmark.train_stream))
    with opened(store):
        before = store.targets(rows).clone()
    learn(template)
    memory = replay_of(template).memory
    assert torch.equal(store.targets(rows), before)
    assert np.array_equal(memory.labels, before.numpy()[memory.rows])


def test_the_memory_never_holds_a_label_the_stream_did_not_show(build: Any, learn: Any) -> None:
    memory = replay_of(learn(build("er"))).memory
    for labels, task in zip(memory.labels, memory.stored_by, strict=True):
        start, stop = ((0, 4), (4, 8), (8, 10))[task]
        assert (labels[:start] == -1).all()
        assert (labels[stop:] == -1).all()
        assert (labels[start:stop] != -1).all()


def test_extending_a_batch_by_no_rows_changes_nothing(build: Any, learn: Any) -> None:
    class Nothing:
        def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
            strategy.extend_batch(strategy.mb_x[:0], strategy.mb_y[:0], strategy.rows[:0])

        def before_forward(self, strategy: Any, **kwargs: Any) -> None:
            assert len(strategy.mb_x) == len(strategy.replayed) == len(strategy.distillable)

    learn(build(first=[Nothing()]), tasks=1)


def test_replayed_rows_are_distillable_though_a_plugin_has_taken_the_new_ones_out_before(
    build: Any, learn: Any
) -> None:
    class Early:
        def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
            strategy.distillable &= strategy.replayed

    class Late:
        replayed = 0

        def before_forward(self, strategy: Any, **kwargs: Any) -> None:
            assert torch.equal(strategy.distillable, strategy.replayed)
            self.replayed += int(strategy.replayed.sum())

    late = Late()
    learn(build("lwf+er", first=[Early()], last=[late]), tasks=2)
    assert late.replayed > 0


@pytest.mark.parametrize("place", ["first", "last"])
def test_every_plugin_hears_of_stored_rows_whatever_the_order(build: Any, learn: Any, place: str) -> None:
    class Listener(SupervisedPlugin):
        def __init__(self) -> None:
            super().__init__()
            self.stored: list[int] = []

        def memory_updated(self, strategy: Any, replay: Replay) -> None:
            self.stored.append(len(replay.memory))

    one, other = Listener(), Listener()
    learn(build("er", **{place: [one, other]}), tasks=2)
    assert one.stored == other.stored == [12, 24]


def test_no_callback_of_an_avalanche_loop_is_shadowed(build: Any) -> None:
    plugin = replay_of(build("er+or"))
    assert all(callable(getattr(plugin, event)) for event in dir(plugin) if event.startswith(("before_", "after_")))
