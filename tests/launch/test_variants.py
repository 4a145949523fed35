"""A strategy with settings is a name: as a text, a mapping or a `Variant`; what cannot be one is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import clsim
from clsim.errors import ClsimError, RunError, ScenarioError, StrategyError
from clsim.launch.variants import Variant, as_grid, as_variants, compose, expand


def named(text: Any, options: dict | None = None, grid: dict | None = None) -> dict[str, tuple[dict, dict]]:
    """Name -> options and overrides of each variant."""
    entries = compose(expand(as_variants(text), as_grid(grid or {})), options or {})
    return {entry.name: (entry.composition.given, dict(entry.overrides)) for entry in entries}


def test_a_text_holds_strategies_with_settings_and_labels() -> None:
    text = "er, er(selection=herding) as herding, lwf+er(lwf.weight=2), er(training.epochs=3, replay=paired) as p"
    assert named(text) == {
        "er": ({}, {}),
        "herding": ({"selection": "herding"}, {}),
        "lwf+er(lwf.weight=2)": ({"lwf.weight": 2}, {}),
        "p": ({"replay": "paired"}, {"training.epochs": 3}),
    }
    assert clsim.Variant("er", "herding", {"selection": "herding"}) == as_variants(text)[1]
    assert (
        as_variants([{"strategy": "er", "label": "herding", "options": {"selection": "herding"}}])[0]
        == (as_variants(text)[1])
    )


def test_commas_in_brackets_and_quotes_separate_nothing() -> None:
    text = "er(selection=a.py:f, selection_options={x: [1, 2], y: 'p,q)'}) as one, lwf"
    first, second = as_variants(text)
    assert first.options == {"selection": "a.py:f", "selection_options": {"x": [1, 2], "y": "p,q)"}}
    assert (first.label, second.spec) == ("one", "lwf")


def test_own_settings_win_over_shared_ones_and_equal_variants_count_once() -> None:
    assert named("lwf+er, lwf(weight=3) as own, lwf+er", {"lwf.weight": 0.5}) == {
        "lwf+er": ({"lwf.weight": 0.5}, {}),
        "own": ({"weight": 3}, {}),
    }


def test_a_grid_multiplies_the_strategies_that_have_the_key() -> None:
    found = named("er, lwf as l, lwf(weight=9) as nine", grid={"strategy.lwf.weight": [0.5, 1, 0.5]})
    assert found == {
        "er": ({}, {}),
        "l(lwf.weight=0.5)": ({"lwf.weight": 0.5}, {}),
        "l(lwf.weight=1)": ({"lwf.weight": 1}, {}),
        "nine": ({"weight": 9}, {}),
    }
    two = named("lwf", grid={"strategy.lwf.weight": [1, 2], "training.epochs": [3, 4]})
    assert list(two) == [f"lwf(lwf.weight={weight},training.epochs={epochs})" for weight in (1, 2) for epochs in (3, 4)]
    with pytest.raises(StrategyError, match=r"unknown strategy option 'lwf\.weight'"):
        named("er", grid={"strategy.lwf.weight": [1, 2]})


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("er as a/b", StrategyError, "label: given 'a/b', expected no /"),
        ("er as ..", StrategyError, r"label: given '..', expected no '\.\.'"),
        ("er as .hidden", StrategyError, "label: given '.hidden'"),
        ([{"strategy": "er", "label": "a\nb"}], StrategyError, "expected no control characters"),
        ([{"strategy": "er", "label": "a\x1b[2Jb"}], StrategyError, "expected no control characters"),
        ([{"strategy": "er", "label": "x" * 101}], StrategyError, "expected at most 100 bytes"),
        ([{"strategy": "er", "label": ""}], StrategyError, "label: given '', expected a text"),
        ([{"strategy": "er", "labl": "x"}], StrategyError, "unknown key 'labl', did you mean 'label'"),
        ([{"label": "x"}], StrategyError, "without the key strategy"),
        ("er as order3", StrategyError, "order<k> names a class order"),
        ("er as lwf", StrategyError, "label: given 'lwf', which is the name of a strategy"),
        ("er(selection=herding) as er", StrategyError, "which is the name of a strategy"),
        ("er as x, lwf as X", StrategyError, "also named x; give one of them a label"),
        ("er, er(selection=herding)(a=1)", StrategyError, "settings stand behind all parts"),
        ("lwf(weight=2)+er", StrategyError, "settings stand behind all parts"),
        ("er(selection", StrategyError, r"expected '\)' at the end"),
        ("er)", StrategyError, "closes no bracket"),
        ("er(selection)", StrategyError, "given 'selection' in parentheses, expected option=value"),
        ("er(replay=paired,replay=concat)", StrategyError, "replay is set twice"),
        ("er(replay={)", StrategyError, "closes no bracket"),
        ("er(stream.increment=2)", ScenarioError, "stream.increment: is one for all runs that are compared"),
        ("er(evaluation.on=test)", ScenarioError, "evaluation.on: is one for all runs"),
        ([Variant("er", seeds=(1,)), {"strategy": "er", "seeds": "0-4"}], RunError, "seeds: given '0-4'"),
        ([{"strategy": "er", "options": ["replay"]}], StrategyError, "options: given .*, expected keys and values"),
    ],
)
def test_what_cannot_be_a_variant_is_one_clear_line(given: Any, error: type[ClsimError], message: str) -> None:
    with pytest.raises(error, match=message) as raised:
        named(given)
    assert "\n" not in str(raised.value)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("grid", [3, {"training.epochs": 2}, {"training.epochs": []}, {1: [2]}])
def test_a_grid_is_lists_of_values(grid: Any) -> None:
    with pytest.raises(RunError, match=r"^grid"):
        clsim.compare("digits-b0c2", "er", grid=grid)


def test_a_grid_leaves_the_stream_alone() -> None:
    with pytest.raises(ScenarioError, match=r"grid stream\.increment: is one for all runs that are compared"):
        clsim.compare("digits-b0c2", "er", grid={"stream.increment": [2, 5]})


@pytest.mark.parametrize("name", ["..", ".hidden", "-x", "a..b", "order3"])
def test_a_strategy_whose_name_cannot_name_a_folder_needs_another(tmp_path: Path, name: str) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        f"import clsim\n\nclass Own(clsim.Strategy):\n    name = {name!r}\n    def plugins(self, context):\n"
        "        return []\n"
    )
    with pytest.raises(StrategyError, match=r"name of the strategy .*; give it one: ... as NAME"):
        named(f"{file}:Own")
    assert list(named(f"{file}:Own as mine")) == ["mine"]
