"""Class statistics, against ridge regression on all rows with the same targets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge

from clsim.training.closed_form.second_moments import FullMoments, LowRankMoments
from clsim.training.closed_form.statistics import RIDGES, ClassStatistics, rank_within

WIDTH = 9


def _stream(*lengths: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Tasks of two classes each: phi [n, p] that ends in 1, and labels [n, classes so far] with 0 for unknown ones."""
    generator = torch.Generator().manual_seed(3)
    tasks = []
    for task, length in enumerate(lengths):
        phi = torch.randn(length, WIDTH, generator=generator, dtype=torch.float64)
        phi[:, -1] = 1.0
        labels = torch.zeros(length, 2 * task + 2, dtype=torch.float64)
        labels[:, -2:] = (phi[:, :2] + torch.randn(length, 2, generator=generator) > 0.5).double()
        tasks.append((phi, labels))
    return tasks


def _statistics(tasks, kept=torch.float64, moments=FullMoments, **options) -> ClassStatistics:
    statistics = ClassStatistics(moments(WIDTH, kept=kept), **options)
    for phi, labels in tasks:
        statistics.grow(labels.shape[1])
        for part, of_part in zip(phi.split(4), labels.split(4), strict=True):
            statistics.add(part, of_part)
        statistics.close()
    return statistics


def _batch(tasks) -> tuple[np.ndarray, np.ndarray]:
    classes = tasks[-1][1].shape[1]
    padded = [torch.cat([y, y.new_zeros(len(y), classes - y.shape[1])], dim=1) for _, y in tasks]
    return torch.cat([phi for phi, _ in tasks]).numpy(), torch.cat(padded).numpy()


@pytest.mark.parametrize(("kept", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-6)], ids=str)
def test_the_head_is_ridge_regression_on_all_rows_with_unknown_as_absent(kept, tolerance) -> None:
    tasks = _stream(30, 8, 50)
    x, y = _batch(tasks)
    solution = _statistics(tasks, kept).solve(0.5)
    expected = Ridge(alpha=0.5 * len(x), fit_intercept=False).fit(x, y).coef_.T
    np.testing.assert_allclose(solution.weight.numpy(), expected, rtol=0, atol=tolerance)


def test_rank_p_is_the_full_form() -> None:
    tasks = _stream(30, 8, 50)
    full = _statistics(tasks).solve(0.5)
    low = _statistics(tasks, moments=lambda p, kept: LowRankMoments(p, p, kept)).solve(0.5)
    for one, other in zip(full[:3], low[:3], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)


def test_cross_validation_agrees_with_its_definition_row_by_row() -> None:
    tasks = _stream(30, 8, 50)
    x, y = _batch(tasks)
    errors = {}
    for ridge in RIDGES:
        hat = x @ np.linalg.solve(x.T @ x + ridge * len(x) * np.eye(WIDTH), x.T)
        errors[ridge] = ((y - hat @ y) ** 2).sum() / (1 - np.trace(hat) / len(x)) ** 2
    assert _statistics(tasks).solve(None).ridge == min(errors, key=errors.__getitem__)


def test_log_odds_follow_from_the_means_and_the_variance_of_the_scores() -> None:
    (phi, labels) = _stream(400)[0]
    statistics = _statistics([(phi, labels)], prior="rows")
    solution = statistics.solve(0.01)
    scores = phi @ solution.weight
    for column in range(2):
        positive = labels[:, column] == 1
        m1, m0 = scores[positive, column].mean(), scores[~positive, column].mean()
        share = (positive.sum() + 0.5) / (len(phi) + 1)
        within = torch.where(positive, scores[:, column] - m1, scores[:, column] - m0).square().mean()
        middle = share.logit() + (m1 - m0) / within * (scores[:, column] - (m1 + m0) / 2)
        found = solution.scale[column] * scores[:, column] + solution.offset[column]
        torch.testing.assert_close(found, middle, rtol=1e-6, atol=1e-6)
        logistic = LogisticRegression().fit(scores[:, [column]].numpy(), positive.numpy())
        assert float(solution.scale[column]) == pytest.approx(float(logistic.coef_[0, 0]), rel=0.5)


def test_the_prior_moves_offsets_alone() -> None:
    tasks = _stream(30, 8, 50)
    rows, task, between = (_statistics(tasks, prior=prior).solve(0.5) for prior in ("rows", "task", "between"))
    assert torch.equal(rows.weight, task.weight)
    assert torch.equal(rows.scale, task.scale)
    assert bool((rows.offset[2:4] < task.offset[2:4]).all())
    torch.testing.assert_close(between.offset, (rows.offset + task.offset) / 2)


def test_a_class_without_a_positive_gets_a_finite_head() -> None:
    phi = _stream(20)[0][0]
    solution = _statistics([(phi, torch.zeros(20, 2, dtype=torch.float64))]).solve(0.5)
    assert all(bool(tensor.isfinite().all()) for tensor in solution[:3])
    assert bool((solution.scale > 0).all())
    assert bool((solution.offset < -2).all())


def test_the_state_goes_on_exactly_and_is_what_the_bytes_say() -> None:
    tasks = _stream(30, 8, 50)
    begun = _statistics(tasks[:1], torch.float32)
    state = begun.state_dict()
    assert begun.nbytes == state["moments"]["upper"].nbytes + state["sums"].nbytes
    other = ClassStatistics(FullMoments(WIDTH))
    other.load_state_dict(state)
    for statistics in (begun, other):
        phi, labels = tasks[1]
        statistics.grow(labels.shape[1])
        statistics.add(phi, labels)
        statistics.close()
    for one, another in zip(begun.solve(1.0), other.solve(1.0), strict=True):
        assert torch.equal(torch.as_tensor(one), torch.as_tensor(another))


def test_statistics_of_some_rows_can_stand_for_others() -> None:
    tasks = _stream(40)
    all_rows = _statistics(tasks)
    phi, labels = tasks[0]
    twice = _statistics([(phi.repeat(3, 1), labels.repeat(3, 1))])
    found = _statistics(tasks).standing_for(twice)
    torch.testing.assert_close(found.sums, twice.sums)
    torch.testing.assert_close(found.solve(0.5).weight, all_rows.solve(0.5).weight)


@pytest.mark.parametrize(("given", "rank"), [(249_984, 34), (3_345_972, None), (3_345_971, 638), (76_860, 1)])
def test_the_rank_is_the_largest_that_fits(given: int, rank: int | None) -> None:
    assert rank_within(given, 1281, 12, 4) == rank
    if rank is not None:
        assert 4 * 1281 * (rank + 2 + 12) <= given < 4 * 1281 * (rank + 3 + 12)


def test_bytes_below_rank_one_are_refused() -> None:
    with pytest.raises(ValueError, match="given 76859, must be at least 76860"):
        rank_within(76_859, 1281, 12, 4)
