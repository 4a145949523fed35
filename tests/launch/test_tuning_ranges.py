from __future__ import annotations

from typing import Any

import pytest

from clsim.errors import ClsimError
from clsim.launch.tuning_ranges import Range, as_ranges

KEY = "strategy.akd.gamma"


def test_ranges_keep_the_type_of_their_values() -> None:
    given = {KEY: {"uniform": [0, 4]}, "training.epochs": {"int": [1, 4]}, "memory.x": {"choice": [1, "a"]}}
    assert as_ranges(given) == {
        KEY: Range("uniform", (0.0, 4.0)),
        "training.epochs": Range("int", (1, 4)),
        "memory.x": Range("choice", (1, "a")),
    }
    assert type(as_ranges(given)["training.epochs"].values[0]) is int


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "ranges: given None, expected keys with ranges"),
        ({}, "ranges: given {}, expected keys with ranges"),
        ({KEY: 3}, f"range {KEY}: given 3, expected {{uniform: .low, high.}} or"),
        ({KEY: {"log_unifrom": [1, 2]}}, f"range {KEY}: unknown range 'log_unifrom', did you mean 'log_uniform'"),
        ({KEY: {"uniform": [1, 2], "int": [1, 2]}}, "expected {uniform"),
        ({KEY: {"uniform": [2, 1]}}, "expected low < high"),
        ({KEY: {"uniform": [1]}}, "expected {uniform: .low, high.}"),
        ({KEY: {"uniform": [0, float("inf")]}}, "expected two finite numbers"),
        ({KEY: {"log_uniform": [0, 1]}}, "expected 0 < low < high"),
        ({KEY: {"int": [0.5, 2]}}, "expected two whole numbers"),
        ({KEY: {"choice": ["a"]}}, "expected {choice"),
        ({KEY: {"choice": ["a", "a"]}}, "expected choices that differ"),
        ({"stream.increment": {"int": [1, 2]}}, "range stream.increment: is one for all runs that are compared"),
        ({"evaluation.on": {"choice": ["test", "validation"]}}, "range evaluation.on: is one for all runs"),
    ],
)
def test_what_is_no_range_is_one_clear_line(given: Any, message: str) -> None:
    with pytest.raises(ClsimError, match=message) as raised:
        as_ranges(given)
    assert "\n" not in str(raised.value)
