"""Whether the weights of a run are finite: exact for every type, whatever the magnitude."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from clsim.errors import RunError
from clsim.training.finite import FiniteCheck
from clsim.training.learner import Position

TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def _look_at(*weights: Tensor) -> None:
    model = nn.Module()
    for number, weight in enumerate(weights):
        model.register_buffer(f"weight{number}", weight)
    FiniteCheck(torch.device("cpu")).look_at_all(model, Position(1, 2, 3))


@pytest.mark.parametrize("dtype", TYPES)
def test_the_largest_numbers_of_a_type_are_finite_though_their_squares_are_not(dtype: torch.dtype) -> None:
    _look_at(torch.full((9,), torch.finfo(dtype).max, dtype=dtype), torch.ones(3))
    _look_at(torch.full((9,), torch.finfo(dtype).min, dtype=dtype))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_number_that_is_not_finite_is_named_among_any_others(dtype: torch.dtype, value: float) -> None:
    bad = torch.ones(1000, dtype=dtype)
    bad[500] = value
    for beside in (torch.ones(5), torch.full((9,), 3e38), torch.full((9,), 1e200, dtype=torch.float64)):
        with pytest.raises(RunError, match=r"weight1 is not finite after task 1, epoch 2, step 3"):
            _look_at(beside, bad)


def test_a_model_without_numbers_is_finite() -> None:
    _look_at()
    _look_at(torch.ones(0), torch.tensor([2**31]))
