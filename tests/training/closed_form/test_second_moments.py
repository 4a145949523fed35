"""Second moments in full and of low rank, against what NumPy says of all rows at once."""

from __future__ import annotations

import pytest
import torch

from clsim.training.closed_form.second_moments import FullMoments, LowRankMoments

WIDTH = 12


def _tasks(*lengths: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(length, WIDTH, generator=generator, dtype=torch.float64) for length in lengths]


def _taken(moments: FullMoments | LowRankMoments, tasks: list[torch.Tensor], chunk: int = 5) -> None:
    for rows in tasks:
        for part in rows.split(chunk):
            moments.add(part)
        moments.close()


@pytest.mark.parametrize("make", [FullMoments, lambda p, kept: LowRankMoments(p, p, kept)], ids=["full", "rank p"])
@pytest.mark.parametrize("lengths", [(3, 4), (30, 2, 50), (11, 1)], ids=str)
def test_everything_follows_from_all_rows_at_once(make, lengths) -> None:
    tasks = _tasks(*lengths)
    moments = make(WIDTH, torch.float64)
    _taken(moments, tasks)
    rows = torch.cat(tasks)
    gram = rows.T @ rows
    right = torch.randn(WIDTH, 3, dtype=torch.float64)
    ridged = gram + 0.7 * torch.eye(WIDTH, dtype=torch.float64)
    torch.testing.assert_close(moments.times(right), gram @ right, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(moments.solve(right, 0.7), torch.linalg.solve(ridged, right), rtol=1e-9, atol=1e-9)
    assert moments.smoother(0.7) == pytest.approx(float(torch.linalg.solve(ridged, gram).trace()), rel=1e-9)
    torch.testing.assert_close(moments.solve(right, 0.7), torch.linalg.solve(ridged, right), rtol=1e-9, atol=1e-9)
    if isinstance(moments, LowRankMoments):
        torch.testing.assert_close(moments.total, rows.sum(dim=0))


def test_order_and_division_into_tasks_do_not_matter_in_full() -> None:
    tasks = _tasks(7, 9, 20)
    one, other = FullMoments(WIDTH, torch.float64), FullMoments(WIDTH, torch.float64)
    _taken(one, tasks)
    _taken(other, [torch.cat(tasks[::-1])], chunk=36)
    torch.testing.assert_close(one.matrix, other.matrix, rtol=1e-12, atol=1e-12)


def test_a_low_rank_keeps_the_longest_directions_and_the_diagonal_of_the_rest() -> None:
    generator = torch.Generator().manual_seed(1)
    strong = torch.randn(40, 2, generator=generator, dtype=torch.float64) @ torch.randn(2, WIDTH).double() * 10
    rows = strong + torch.randn(40, WIDTH, generator=generator, dtype=torch.float64) * 0.1
    moments = LowRankMoments(WIDTH, 2, torch.float64)
    _taken(moments, [rows])
    gram = rows.T @ rows
    approximation = moments.times(torch.eye(WIDTH, dtype=torch.float64))
    torch.testing.assert_close(approximation.diagonal(), gram.diagonal())
    values = torch.linalg.eigvalsh(gram)
    assert float((approximation - gram).norm()) < 2 * float(values[:-2].norm())
    assert moments.factor.shape == (2, WIDTH)
    inner = moments.factor @ moments.factor.T
    torch.testing.assert_close(inner, torch.diag(values[-2:].flip(0)), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("lengths", [(30,), (4, 5, 30, 2)], ids=str)
def test_the_low_rank_holds_fewer_than_p_rows_inside_a_task(lengths) -> None:
    moments = LowRankMoments(WIDTH, 3)
    for rows in _tasks(*lengths):
        for part in rows.split(2):
            moments.add(part)
            assert len(moments.factor) < WIDTH
        moments.close()


@pytest.mark.parametrize(
    "make", [lambda: FullMoments(WIDTH), lambda: LowRankMoments(WIDTH, 4)], ids=["full", "low rank"]
)
def test_bytes_are_those_of_the_state_and_a_state_goes_on_exactly(make) -> None:
    first, second = _tasks(9, 30)
    moments = make()
    _taken(moments, [first])
    state = moments.state_dict()
    assert moments.nbytes == sum(tensor.nbytes for tensor in state.values())
    other = make()
    other.load_state_dict(state)
    _taken(moments, [second])
    _taken(other, [second])
    right = torch.ones(WIDTH, 1, dtype=torch.float64)
    assert torch.equal(moments.times(right), other.times(right))


@pytest.mark.parametrize("make", [FullMoments, lambda p, kept: LowRankMoments(p, p, kept)], ids=["full", "rank p"])
def test_a_linear_map_moves_full_moments_exactly(make) -> None:
    rows = _tasks(30)[0]
    by = torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    moments, moved = make(WIDTH, torch.float64), make(WIDTH, torch.float64)
    _taken(moments, [rows])
    _taken(moved, [rows @ by.T])
    moments.transport(by)
    moments.scale(2.0)
    right = torch.eye(WIDTH, dtype=torch.float64)
    torch.testing.assert_close(moments.times(right), 2 * moved.times(right), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(moments.total, 2 * moved.total, rtol=1e-6, atol=1e-6)
