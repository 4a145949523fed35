"""The methods of ladder and board: none that ships is forgotten, all can be composed, all have as many tries."""

from __future__ import annotations

import pytest

from benchmarks.studies import methods
from benchmarks.studies.methods import (
    BOARD,
    BOARD_ONLY,
    LADDER,
    LADDER_ONLY,
    LEFT_OUT,
    LISTED,
    LONGER,
    REFERENCES,
    TRIES,
    Method,
    board,
    ladder,
    named_in,
    taken_in,
    tried,
)
from clsim.launch.variants import compose
from clsim.parts import names
from clsim.training.composition import Composition
from clsim.training.strategy_specs import registered, strategy_class


@pytest.mark.parametrize(("listed", "beside"), [(BOARD, set()), (LADDER, {"identity"})], ids=["board", "ladder"])
def test_every_installed_strategy_has_a_row_or_a_reason_why_not(listed: list[Method], beside: set[str]) -> None:
    assert named_in(listed) | set(LEFT_OUT) | beside == set(registered()), "add it to benchmarks/studies/methods.py"
    assert not named_in(listed) & {*LEFT_OUT, *beside}


def test_a_name_that_is_left_out_is_the_same_as_another() -> None:
    for left_out, reason in LEFT_OUT.items():
        shown = reason.removeprefix("another name of ")
        one, other = Composition(left_out), Composition(shown)
        assert [type(part) for part in one.parts] == [type(part) for part in other.parts]
        assert one.options() == other.options()
        assert shown in [method.spec for method in LADDER]


def test_board_and_ladder_hold_the_same_methods_but_for_those_that_are_named() -> None:
    assert [one for one in BOARD if one not in BOARD_ONLY] == [one for one in LADDER if one not in LADDER_ONLY]
    assert not [one for one in LADDER if one in BOARD_ONLY]
    assert all(one in LADDER for one in LADDER_ONLY)


def test_every_selection_has_a_row() -> None:
    chosen = {one.options.get("er.selection", "class-balanced") for one in LADDER if one.spec == "er"}
    assert chosen == set(names("selection"))


def test_a_strategy_that_stands_in_no_row_is_taken_in_with_the_parts_that_it_needs() -> None:
    added = taken_in(set(registered()) - {"derpp", "max-entropy", "si"})
    assert [(one.spec, one.tried) for one in added] == [("er+derpp", ()), ("lwf+max-entropy", ()), ("si", ())]
    assert taken_in(registered()) == []


@pytest.mark.parametrize("frozen", [True, False])
def test_every_setting_can_be_composed_under_a_name_of_its_own(frozen: bool) -> None:
    variants = [one for settings in tried(frozen).values() for one in settings]
    assert len(compose(variants, {})) == len(variants)
    rows = ladder(frozen)
    assert len(compose(rows, {})) == len(rows)
    labels = [str(one.label) for one in rows]
    tuned = [index for index, label in enumerate(labels) if label.endswith(", tuned")]
    assert [labels[index] for index in tuned] == [f"{labels[index - 1]}, tuned" for index in tuned]
    defaults = [settings[0].label for settings in tried(frozen).values()]
    assert [one.label for one in rows if one.label in defaults] == defaults
    assert len(rows) == len(defaults) + len(methods.CHOSEN) + len(LONGER)


def test_what_was_chosen_is_one_of_the_settings_that_are_tried() -> None:
    settings = {one.name: one.tried for one in LISTED}
    assert methods.CHOSEN
    for name, chosen in methods.CHOSEN.items():
        assert chosen in settings[name], name


@pytest.mark.parametrize("frozen", [True, False])
def test_the_board_has_each_method_in_one_form_and_says_what_is_narrower(frozen: bool) -> None:
    variants = board(frozen)
    assert len(compose(variants, {})) == len(variants) == len(BOARD)
    for method, variant in zip(BOARD, variants, strict=True):
        as_published = method.variant(frozen)
        assert ("wide" in str(variant.label)) == (variant.options != as_published.options)
        assert variant.overrides == as_published.overrides
        assert (", maps" in str(variant.label)) == bool(variant.overrides)
    l3a, hcp = board(frozen, of=["hcp", "l3a"])
    assert (hcp.label, hcp.options) == ("hcp, 64 wide" + (", maps" if frozen else ""), {"class-embeddings.width": 64})
    assert l3a.label == "l3a, 1024 wide" + ("" if frozen else ", first-task")


@pytest.mark.parametrize("frozen", [True, False])
def test_the_ladder_is_narrower_than_published_only_where_it_says_so(frozen: bool) -> None:
    (kbk,) = ladder(frozen, of=["kbk+er"])
    width = {"class-embeddings.width": 256}
    assert (kbk.label, kbk.options) == (("kbk+er, 256 wide, maps", width) if frozen else ("kbk+er", {}))
    for variants in tried(frozen).values():
        assert len({" wide" in str(one.label) for one in variants}) == 1


def test_every_method_with_an_option_has_the_same_number_of_tries() -> None:
    counts = {one.name: 1 + len(one.tried) for one in LISTED}
    assert counts.pop("finetune") == 2  # it has one option, of two values
    assert set(counts.values()) == {TRIES}
    assert [one.name for one in REFERENCES] == ["finetune", "joint"]


def test_a_chosen_setting_is_a_row_beside_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "CHOSEN", {"er+or": {"or.threshold": 0.5}})
    default, tuned = ladder(frozen=True, of=["er+or"])
    assert (default.label, default.options) == ("er+or", {})
    assert (tuned.label, tuned.options) == ("er+or, tuned", {"or.threshold": 0.5})


@pytest.mark.parametrize("frozen", [True, False])
def test_what_begins_anew_in_each_task_is_also_trained_longer(frozen: bool) -> None:
    longer = {one.spec: one for one in ladder(frozen) if "training.epochs" in one.overrides}
    assert set(longer) == {name for name in registered() if strategy_class(name).restarts}
    for one in longer.values():
        assert one.overrides == {"training.epochs": int(str(one.label).split()[1])}
