"""Options of `moments`: memory, rank and ridge."""

from __future__ import annotations

import re

import pytest

from clsim.errors import StrategyError
from clsim.training.closed_form.second_moments import FullMoments, LowRankMoments
from clsim.training.closed_form.solved_head import SolvedHead

FROZEN = {"training.model.freeze": "backbone"}


def _plugin(build, options=None, overrides=None) -> SolvedHead:
    found = build("moments", options=options, overrides=FROZEN | (overrides or {})).find_plugin(SolvedHead)
    assert found is not None
    return found


def test_second_moments_are_full_where_the_exemplars_bytes_allow_it(build) -> None:
    plugin = _plugin(build)
    assert isinstance(plugin.statistics.moments, FullMoments)
    assert plugin.ridge is None  # by cross-validation


@pytest.mark.parametrize(
    ("options", "overrides"),
    [
        ({}, {"memory.budget": {"bytes": 9_000}}),
        ({"bytes": 9_000}, {}),
        ({"expansion": 100}, {"memory.budget.per_class": 1}),
    ],
    ids=["scenario's", "own", "as exemplars"],
)
def test_else_the_largest_rank_that_fits(build, options, overrides) -> None:
    plugin = _plugin(build, options, overrides)
    moments = plugin.statistics.moments
    assert isinstance(moments, LowRankMoments)
    assert plugin.ridge == 4.0
    plugin.statistics.grow(10)
    budget = 10 * (3 * 28 * 28 + 8 + 60 + 8) if "expansion" in options else 9_000
    assert plugin.nbytes <= budget < plugin.nbytes + 4 * moments.width


def test_a_rank_and_a_ridge_can_be_given(build) -> None:
    plugin = _plugin(build, {"rank": 3, "ridge": 0.5})
    assert isinstance(plugin.statistics.moments, LowRankMoments)
    assert (plugin.statistics.moments.rank, plugin.ridge) == (3, 0.5)


@pytest.mark.parametrize(
    ("options", "overrides", "message"),
    [
        ({"bytes": 100}, {}, "strategy.moments.bytes: given 100, must be at least "),
        (
            {},
            {"memory.budget": {"bytes": 3000}},
            "memory.budget, whose bytes strategy.moments.bytes takes: given 3000, must",
        ),
        ({"ridge": 0}, {}, "strategy option moments.ridge"),
        ({"bytes": "all"}, {}, "strategy option moments.bytes"),
    ],
)
def test_what_is_too_small_or_unknown_is_refused(build, options, overrides, message) -> None:
    with pytest.raises(StrategyError, match=re.escape(message)):
        _plugin(build, options, overrides)
