"""Relational distillation: similarities of pairs, by hand; what is left alone; and the frozen backbone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from clsim.errors import StrategyError
from clsim.scenario import load_scenario
from clsim.training.composition import Composition
from clsim.training.relations import relational
from clsim.training.snapshot import Snapshot


def test_the_term_is_the_mean_over_pairs_of_squared_differences_of_correlations() -> None:
    generator = torch.Generator().manual_seed(2)
    student = torch.randn(5, 7, generator=generator, dtype=torch.float64)
    teacher = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    s, t = np.corrcoef(student), np.corrcoef(teacher)
    pairs = [(s[i, j] - t[i, j]) ** 2 for i in range(5) for j in range(i)]
    assert float(relational(student, teacher)) == pytest.approx(np.mean(pairs))


def test_equal_features_shifted_or_scaled_are_no_loss_and_nor_is_one_row() -> None:
    features = torch.randn(4, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for other in (features, 3 * features + 2, features[:, [1, 0, 2, 3, 4, 5]]):
        assert float(relational(features, other)) == pytest.approx(0, abs=1e-12)
    assert relational(features[:1], -features[:1]) == 0


def test_the_first_task_is_left_alone_and_without_weight_all_are(build: Any, learn: Any, same_weights: Any) -> None:
    for weight, tasks, equal in ((9.0, 1, True), (0.0, 2, True), (9.0, 2, False)):
        held = learn(build("relational", options={"weight": weight}), tasks=tasks)
        assert same_weights(held, learn(build("finetune"), tasks=tasks)) == equal
        assert not held.model.head._forward_pre_hooks


def test_the_teacher_looks_at_each_batch_once_for_all_parts(build: Any, learn: Any) -> None:
    class Count:
        """Passes of the teacher per step."""

        def __init__(self) -> None:
            self.passes = 0
            self.steps: list[int] = []

        def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
            teacher = strategy.find_plugin(Snapshot).model
            if teacher is not None:
                teacher.register_forward_hook(self.count)

        def count(self, *args: Any) -> None:
            self.passes += 1

        def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
            self.passes = 0

        def after_update(self, strategy: Any, **kwargs: Any) -> None:
            self.steps.append(self.passes)

    count = Count()
    learn(build("pseudo+lwf+relational+er", options={"rest": "distil"}, last=[count]), tasks=2)
    assert set(count.steps) == {0, 1}


def test_on_a_frozen_backbone_it_is_refused() -> None:
    config = load_scenario("digits-b0c2", {"training.model.freeze": "backbone"}).config
    with pytest.raises(StrategyError, match="relational has nothing to hold: the backbone is frozen"):
        Composition("relational").check(config, 10)
