"""DER++: its host when the factors say so, whatever else is beside it, and fewer rows under a budget in bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clsim.training.composition import Composition
from clsim.training.memory.replay import Replay


def memory_of(template: Any) -> Any:
    return template.find_plugin(Replay).memory


@pytest.mark.parametrize("replay", ["concat", "paired"])
def test_without_its_term_it_is_its_host_bit_for_bit(build: Any, learn: Any, same_weights: Any, replay: str) -> None:
    host = learn(build("er", options={"replay": replay}))
    assert same_weights(learn(build("er+derpp", options={"replay": replay, "alpha": 0.0})), host)
    assert not same_weights(learn(build("er+derpp", options={"replay": replay})), host)


def test_the_order_of_the_parts_does_not_matter_and_relabelling_goes_on(
    build: Any, learn: Any, same_weights: Any
) -> None:
    one, other = learn(build("er+or+derpp")), learn(build("derpp+or+er"))
    assert same_weights(one, other)
    plain = memory_of(learn(build("er+or")))
    assert np.array_equal(memory_of(one).provenance, plain.provenance)
    assert np.array_equal(memory_of(one).rows, plain.rows)


def test_logits_take_the_place_of_rows_in_a_budget_in_bytes(build: Any, learn: Any) -> None:
    row = 3 * 28 * 28 + 8 + 6 * 10 + 8
    budget = {"memory.budget": {"bytes": 20 * row}}
    plain, with_logits = (learn(build(spec, overrides=budget), tasks=2) for spec in ("er", "er+derpp"))
    assert len(memory_of(plain)) == 20
    assert len(memory_of(with_logits)) == 20 * row // (row + 40)
    replay = with_logits.find_plugin(Replay)
    assert replay.nbytes == len(replay.memory) * (row + 40) <= 20 * row


def test_it_needs_a_memory() -> None:
    with pytest.raises(Exception, match="derpp needs a part that brings the memory, such as er"):
        Composition("derpp")
