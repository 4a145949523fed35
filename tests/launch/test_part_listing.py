from __future__ import annotations

from typing import get_args

import pytest

from clsim.launch.part_listing import bibliography, list_strategies
from clsim.parts import names
from clsim.training.strategy_specs import strategy_class
from clsim.vocabulary import Family


@pytest.mark.parametrize("name", names("strategy"))
def test_every_shipped_strategy_states_its_facts(name: str) -> None:
    kind = strategy_class(name)
    assert kind.family in get_args(Family)
    assert kind.family != "other"
    assert kind.stores
    assert kind.cost
    entries = bibliography(name)
    assert kind.year is None or any(f"year = {{{kind.year}}}" in entry for entry in entries)
    for entry in entries:
        assert entry.count("{") == entry.count("}")
        assert all(f"  {field} = {{" in entry for field in ("author", "title", "year"))


def test_an_entry_that_several_strategies_give_is_the_same_in_each() -> None:
    keys = [entry.partition("{")[2].partition(",")[0] for entry in bibliography(None)]
    assert len(keys) > 20
    assert len(set(keys)) == len(keys)


def test_a_strategy_that_cannot_be_imported_is_listed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {"lwf": "clsim.strategies.lwf:LwF", "broken": "no_such_module:Broken"}
    monkeypatch.setattr("clsim.launch.part_listing.names", lambda kind: broken)
    assert [row[:2] for row in list_strategies().rows] == [("lwf", "distillation"), ("broken", "other")]
    assert len(bibliography(None)) == 1
