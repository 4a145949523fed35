"""Gradient compensation: psi by hand, means of 1, parts of a batch, and the plain loss where nothing is old."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from clsim.training.losses.binary import asymmetric
from clsim.training.losses.compensated import CompensatedLoss, compensation, error_sums


def psi_of(logits: Tensor, targets: Tensor, groups: Tensor) -> Tensor:
    return compensation(logits, targets, groups, error_sums(logits, targets, groups))


def test_psi_of_one_group_by_hand() -> None:
    p = torch.tensor([[0.2, 0.9], [0.6, 0.4]], dtype=torch.float64)
    y = torch.tensor([[1.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    sums = error_sums(p.logit(), y, torch.ones(1, 2, dtype=torch.float64))
    torch.testing.assert_close(sums[:, 0] / sums[:, 1], torch.tensor([[0.45], [0.5]], dtype=torch.float64))
    expected = torch.tensor([[1.777778, 0.222222], [1.2, 0.8]], dtype=torch.float64)
    torch.testing.assert_close(psi_of(p.logit(), y, torch.ones(1, 2, dtype=torch.float64)), expected, atol=1e-6, rtol=0)


def case() -> tuple[Tensor, Tensor, Tensor]:
    """Logits [9, 5], targets [9, 6] with unknown entries, and two old groups of two classes each."""
    generator = torch.Generator().manual_seed(5)
    logits = 2 * torch.randn(9, 5, generator=generator, dtype=torch.float64)
    targets = torch.randint(-1, 2, (9, 6), generator=generator).double()
    groups = torch.tensor([[1, 1, 0, 0, 0], [0, 0, 1, 1, 0]], dtype=torch.float64)
    return logits, targets, groups


def test_the_mean_of_psi_is_one_in_each_group_and_sign_and_psi_is_one_outside() -> None:
    logits, targets, groups = case()
    psi = psi_of(logits, targets, groups)
    for group in groups.bool():
        for sign in (0, 1):
            entries = psi[:, group][targets[:, :5][:, group] == sign]
            assert len(entries) > 1
            assert float(entries.mean()) == pytest.approx(1)
    assert (psi[:, 4] == 1).all()


def test_parts_of_a_batch_weigh_by_the_means_of_all_of_it() -> None:
    logits, targets, groups = case()
    parts = [(logits[rows], targets[rows]) for rows in (slice(0, 2), slice(2, 9))]
    summed = sum(error_sums(*part, groups) for part in parts)
    psi = torch.cat([compensation(*part, groups, summed) for part in parts])
    torch.testing.assert_close(psi, psi_of(logits, targets, groups))


def test_without_errors_or_entries_psi_is_one_and_finite() -> None:
    logits = torch.tensor([[200.0, -200.0], [float("inf"), 0.0]])
    targets = torch.tensor([[1.0, 0.0], [-1.0, -1.0]])
    assert psi_of(logits, targets, torch.ones(1, 2))[0].tolist() == [1, 1]


def test_the_first_task_is_plain_asl_and_later_ones_weigh_old_labels(build: Any, learn: Any, same_weights: Any) -> None:
    asl = {"training.loss": {"name": "asl", "gamma_neg": 4.0, "gamma_pos": 0.0, "clip": 0.05}}
    for tasks, equal in ((1, True), (2, False)):
        compensated = learn(build("cgc+er", options={"cgc.clip": 0.05}), tasks=tasks)
        assert same_weights(compensated, learn(build("er", overrides=asl), tasks=tasks)) == equal


def test_in_a_run_psi_is_of_the_classes_of_each_earlier_task(build: Any, learn: Any) -> None:
    class Losses:
        """Holds each step of the last task to the definition."""

        checked = 0

        def before_backward(self, strategy: Any, **kwargs: Any) -> None:
            if strategy.position.task == 2:
                logits, y = strategy.mb_output.detach(), strategy.mb_y
                groups = torch.zeros(2, 10)
                groups[0, :4] = groups[1, 4:8] = 1
                weights = psi_of(logits, y, groups)
                entries = [
                    weights[i, c] * len(y) * asymmetric(logits[i : i + 1, c : c + 1], y[i : i + 1, c : c + 1], 4, 0)
                    for i in range(len(y))
                    for c in range(10)
                ]
                expected = torch.stack(entries).sum() / len(y) ** 2
                torch.testing.assert_close(strategy._terms["classification"], expected, rtol=1e-4, atol=1e-5)
                self.checked += 1

    losses = Losses()
    template = learn(build("cgc+pseudo+er", options={"rule": "fixed", "pseudo.threshold": 0.45}, last=[losses]))
    assert losses.checked
    assert isinstance(template._criterion, CompensatedLoss)
    assert sum(plugin is template._criterion for plugin in template.plugins) == 1
