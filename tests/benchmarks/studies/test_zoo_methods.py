"""The methods of the ladder: none that ships is forgotten, all can be composed, all have the same number of tries."""

from __future__ import annotations

import pytest

from benchmarks.studies import zoo_methods
from benchmarks.studies.zoo_methods import (
    LEFT_OUT,
    LISTED,
    METHODS,
    REFERENCES,
    TRIES,
    ladder,
    named_in,
    taken_in,
    tried,
)
from clsim.launch.variants import compose
from clsim.parts import names
from clsim.training.strategy_specs import registered


def test_every_installed_strategy_has_a_row_or_a_reason_why_not() -> None:
    assert named_in(METHODS) | set(LEFT_OUT) == set(registered())
    assert not named_in(METHODS) & set(LEFT_OUT)


def test_every_selection_has_a_row() -> None:
    chosen = {one.options.get("er.selection", "class-balanced") for one in METHODS if one.spec == "er"}
    assert chosen == set(names("selection"))


def test_a_strategy_that_stands_in_no_row_is_taken_in_with_the_parts_that_it_needs() -> None:
    added = taken_in(set(registered()) - {"derpp", "max-entropy", "si"})
    assert [(one.spec, one.tried) for one in added] == [("er+derpp", ()), ("lwf+max-entropy", ()), ("si", ())]
    assert taken_in(registered()) == []


@pytest.mark.parametrize("frozen", [True, False])
def test_every_setting_can_be_composed_under_a_name_of_its_own(frozen: bool) -> None:
    variants = [one for settings in tried(frozen).values() for one in settings]
    assert len(compose(variants, {})) == len(variants)
    assert [one.label for one in ladder(frozen)] == [str(settings[0].label) for settings in tried(frozen).values()]


def test_every_method_with_an_option_has_the_same_number_of_tries() -> None:
    counts = {one.name: 1 + len(one.tried) for one in LISTED}
    assert counts.pop("finetune") == 2  # it has one option, of two values
    assert set(counts.values()) == {TRIES}
    assert [one.name for one in REFERENCES] == ["finetune", "joint"]


def test_a_chosen_setting_is_a_row_beside_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo_methods, "CHOSEN", {"er+or": {"or.threshold": 0.5}})
    default, tuned = ladder(frozen=True, of=["er+or"])
    assert (default.label, default.options) == ("er+or", {})
    assert (tuned.label, tuned.options) == ("er+or, tuned", {"or.threshold": 0.5})
