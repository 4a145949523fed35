"""GDumb: chosen before it is trained on, trained from scratch, and on nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from clsim.errors import StrategyError
from clsim.scenario import load_scenario
from clsim.training.composition import Composition
from clsim.training.memory.memory_only import MemoryOnly


class Look:
    """Rows and targets of each batch, by task."""

    def __init__(self) -> None:
        self.rows: dict[int, set[int]] = {}
        self.unknown: dict[int, int] = {}

    def after_forward(self, strategy: Any, **kwargs: Any) -> None:
        task = strategy.position.task
        self.rows.setdefault(task, set()).update(strategy.rows.tolist())
        seen = strategy.mb_y[:, : strategy.model.n_classes]
        self.unknown[task] = self.unknown.get(task, 0) + int((seen < 0).sum())


def test_a_memory_that_holds_all_trains_on_all_rows_so_far(build: Any, learn: Any, same_weights: Any) -> None:
    large, looks = {"memory.budget.per_class": 100}, [Look(), Look()]
    template = learn(build("gdumb", overrides=large, last=[looks[0]]), tasks=2)
    first, second = (set(e.dataset.rows().tolist()) for e in template.benchmark.train_stream[:2])
    assert looks[0].rows == {0: first, 1: first | second}
    assert looks[0].unknown == {0: 0, 1: 0}
    learn(build("gdumb", overrides=large, options={"unknown": "ignore"}, last=[looks[1]]), tasks=2)
    assert looks[1].unknown[1] > 0
    assert same_weights(learn(build("gdumb", overrides=large), tasks=1), learn(build(), tasks=1))


def test_it_trains_on_what_the_memory_holds_and_the_next_task_starts_anew(build: Any, learn: Any) -> None:
    look = Look()
    template = learn(build("gdumb", last=[look]), tasks=2)
    plugin = next(plugin for plugin in template.plugins if isinstance(plugin, MemoryOnly))
    assert look.rows[1] == set(plugin.memory.rows.tolist())
    assert len(plugin.memory) <= 3 * 8
    assert {0, 1} == set(plugin.memory.stored_by.tolist())
    assert plugin.nbytes == plugin.memory.nbytes(plugin.store.image_bytes)
    alone = learn(build("gdumb"), tasks=1)
    assert not torch.equal(template.model.head.weight[:4], alone.model.head.weight)


def test_what_it_cannot_do_is_refused(build: Any) -> None:
    with pytest.raises(StrategyError, match="gdumb chooses rows before it trains, and HerdingSelection wants features"):
        build("gdumb", options={"selection": "herding"})
    with pytest.raises(StrategyError, match="gdumb chooses rows before it trains, and RainbowSelection asks a trained"):
        build("gdumb", options={"selection": "rainbow"})
    with pytest.raises(StrategyError, match="gdumb retrains from scratch at every task and cannot be combined"):
        Composition("gdumb+ewc")
    oracle = load_scenario("digits-b0c2", {"memory.labels": "oracle"}).config
    with pytest.raises(StrategyError, match="gdumb trains on labels as they were seen"):
        Composition("gdumb").check(oracle, 10)
