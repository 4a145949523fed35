"""Gaussian features in place of stored rows."""

from __future__ import annotations

import pytest
import torch

from clsim.errors import StrategyError
from clsim.training.closed_form.feature_replay import GaussianFeatures
from clsim.training.plugin import Plugin

FEATURES = {"training.model.freeze": "backbone", "training.model.cache_features": True}


class Steps(Plugin):
    """Keeps what each step met, after the plugin that replays."""

    def __init__(self) -> None:
        super().__init__()
        self.new: dict[int, list[torch.Tensor]] = {}
        self.drawn: dict[int, list[torch.Tensor]] = {}
        self.targets: dict[int, list[torch.Tensor]] = {}

    def before_forward(self, learner, **kwargs) -> None:
        task = learner.position.task
        self.new.setdefault(task, []).append(learner.mb_x[~learner.replayed].clone())
        self.drawn.setdefault(task, []).append(learner.mb_x[learner.replayed].clone())
        self.targets.setdefault(task, []).append(learner.mb_y[learner.replayed].clone())


def test_each_step_has_draws_that_are_absent_for_the_tasks_classes_alone(build, learn) -> None:
    steps = Steps()
    learn(build("lwf+feature-replay", options={"share": 2.0}, overrides=FEATURES, last=[steps]))
    assert not sum(len(drawn) for drawn in steps.drawn[0])
    assert [len(drawn) for drawn in steps.drawn[1]] == [2 * len(new) for new in steps.new[1]]
    targets = torch.cat(steps.targets[1])
    assert bool((targets[:, 4:8] == 0).all())
    assert bool((targets[:, :4] == -1).all())
    assert bool((targets[:, 8:] == -1).all())


def test_draws_have_the_mean_and_the_covariance_within_tasks() -> None:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(6, 6, generator=generator)
    tasks = [torch.randn(4000, 6, generator=generator) @ mixing + 3, torch.randn(2000, 6, generator=generator) - 5]
    plugin = GaussianFeatures(6, 6, 1.0, seed=0)
    for rows in tasks:
        learner = _Learner(rows)
        plugin.after_training_exp(learner)
    drawn = plugin.draw(200_000, generator)
    expected = torch.cat(tasks)
    torch.testing.assert_close(drawn.mean(dim=0), expected.mean(dim=0), rtol=0, atol=0.1)
    torch.testing.assert_close(drawn.T.cov(), expected.T.cov(), rtol=0.1, atol=0.5)
    assert bool((drawn >= expected.amin(dim=0)).all())
    assert bool((drawn <= expected.amax(dim=0)).all())
    assert plugin.nbytes == 4 * (2 * 6 + 2 * 6 + 6 * (6 + 2))


class _Learner:
    """One task's features, and nothing else of a learner."""

    def __init__(self, rows: torch.Tensor) -> None:
        self.adapted_dataset = self
        self.store = self
        self._rows = rows

    def rows(self):
        return torch.arange(len(self._rows)).numpy()

    def stored(self, rows):
        return self._rows[torch.from_numpy(rows)]


def test_images_are_refused(build) -> None:
    with pytest.raises(StrategyError, match="feature-replay needs features as data"):
        build("lwf+feature-replay")
