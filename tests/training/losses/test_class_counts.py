"""Counts of a task are those of the labels its learner is shown, and a loss trains with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from clsim.errors import RunError
from clsim.scenario.training_schema import LogitAdjustedSection
from clsim.training.losses.class_counts import ClassCounts, CountedLoss
from clsim.training.losses.class_frequencies import logit_adjusted
from clsim.training.losses.criterion import base_loss
from clsim.training.memory.replay import Replay


def test_counts_are_of_known_entries_and_soft_labels_count_in_part() -> None:
    counts = ClassCounts.of(torch.tensor([[1.0, 0.0, -1.0], [0.25, -1.0, -1.0], [1.0, 1.0, -1.0]]))
    assert counts.positives.tolist() == [2.25, 1, 0]
    assert counts.known.tolist() == [3, 2, 0]


def test_log_odds_are_finite_where_a_class_has_no_positive_or_no_negative() -> None:
    odds = ClassCounts(torch.tensor([10.0, 0.0, 10.0, 0.0]), torch.tensor([40.0, 40.0, 10.0, 0.0])).log_odds()
    np.testing.assert_allclose(odds, np.log([10 / 30, 0.5 / 40, 10 / 0.5, 1]), rtol=1e-6)


class Seen:
    """Counts of each task as the criterion holds them, and from the batches of its first epoch; its loss is right."""

    def __init__(self) -> None:
        self.held: list[ClassCounts] = []
        self.met: list[ClassCounts] = []

    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        self.held.append(strategy._criterion.counts)

    def before_forward(self, strategy: Any, **kwargs: Any) -> None:
        at, width = strategy.position, strategy.mb_y.shape[1]
        if at.step == 0 and at.epoch == 0:
            self.met.append(ClassCounts.of(torch.empty(0, width)))
        if at.epoch == 0:
            self.met[-1] = self.met[-1].plus(ClassCounts.of(strategy.mb_y), 1)

    def before_backward(self, strategy: Any, **kwargs: Any) -> None:
        expected = logit_adjusted(strategy.mb_output, strategy.mb_y, strategy._criterion.counts, 0.5)
        assert float(strategy.loss.detach()) == float(expected.detach())


LOSS = {"training.loss.name": "logit-adjusted", "training.loss.tau": 0.5}


@pytest.mark.parametrize(
    ("spec", "options"),
    [("finetune", {}), ("er", {"current_classes": "ignore"})],
)
@pytest.mark.parametrize("visible", [{}, {"labels.visible.keep": 0.5}], ids=["task", "keep"])
def test_they_are_what_an_epoch_shows(build: Any, learn: Any, spec: str, options: Any, visible: Any) -> None:
    seen = Seen()
    learn(build(spec, options=options, overrides={**LOSS, **visible}, last=[seen]))
    assert len(seen.held) == len(seen.met) == 3
    for held, met in zip(seen.held, seen.met, strict=True):
        assert held.positives.sum() > 0
        assert torch.equal(held.positives, met.positives)
        assert torch.equal(held.known, met.known)


def test_a_paired_memory_counts_as_often_as_it_is_shown(build: Any, learn: Any) -> None:
    template = learn(build("er", options={"replay": "paired"}, overrides=LOSS), tasks=2)
    (replay,) = [plugin for plugin in template.plugins if isinstance(plugin, Replay)]
    second = template.benchmark.train_stream[1]
    stored = ClassCounts.of(torch.from_numpy(replay.memory.labels[replay.memory.stored_by == 0]))
    new = ClassCounts.of(template.benchmark.train_rows.targets(second.dataset.rows()))
    turns = len(second.dataset) / (replay.memory.stored_by == 0).sum()
    assert turns > 1
    counts = template._criterion.counts
    torch.testing.assert_close(counts.positives, new.positives + turns * stored.positives)
    torch.testing.assert_close(counts.known, new.known + turns * stored.known)


def test_a_run_resumes_to_the_same_weights(build: Any, learn: Any, same_weights: Any, through_file: Any) -> None:
    overrides = {"training.loss.name": "db"}

    class Stop:
        state: Any = None

        def after_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
            if (strategy.position.task, strategy.position.epoch, strategy.position.step) == (1, 1, 1):
                Stop.state = through_file(strategy.state_dict())

    class Watch(Stop):
        def state_dict(self) -> dict[str, Any]:
            return {}

        def load_state_dict(self, state: Any) -> None:
            pass

    whole = learn(build("lwf+er", overrides=overrides, last=[Watch()]))
    resumed = build("lwf+er", overrides=overrides, last=[Watch()])
    resumed.load_state_dict(Stop.state)
    assert same_weights(learn(resumed), whole)


def test_without_counts_a_loss_is_refused() -> None:
    loss = base_loss(LogitAdjustedSection(name="logit-adjusted"))
    assert isinstance(loss, CountedLoss)
    with pytest.raises(RunError, match="before the first task has begun"):
        loss(torch.zeros(1, 1), torch.zeros(1, 1))
