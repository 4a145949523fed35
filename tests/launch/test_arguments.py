"""What a caller from Python may give to `run`, `resume` and `compare`: it works, or one clear line refuses it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clsim
from clsim.data.digits import Digits
from clsim.errors import ClsimError, RunError, ScenarioError, StrategyError
from clsim.launch.arguments import as_path, as_seed, as_seeds, split_overrides
from clsim.launch.variants import Variant, as_variants
from clsim.scenario import Scenario, load_scenario
from clsim.strategies.er import ER
from clsim.training.strategy import Strategy

OWN = """
import clsim
from pydantic import Field


class Mine(clsim.Strategy):
    name = "mine"

    class Options(clsim.Options):
        strength: float = Field(0.5, description="how much")


if __name__ == "__main__" or {unguarded}:
    clsim.run("digits-b0c2", Mine, overrides={overrides}, out={out!r})
"""

MAPPING: dict[str, Any] = {
    "name": "mine",
    "dataset": {"name": "digits"},
    "stream": {"increment": 5},
    "training": {"epochs": 1, "optimizer": {"lr": 0.001}},
}


class NotDigits(Digits):
    """A source of its own."""


@pytest.fixture(params=["run", "compare"])
def call(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Any]:
    """`run` or `compare` with one strategy; what is given replaces an argument."""

    def called(**given: Any) -> Any:
        arguments = {"scenario": "digits-b0c2", "strategy": "er", "out": tmp_path / "runs"} | given
        if request.param == "run":
            return clsim.run(**arguments)
        arguments["strategies"] = [arguments.pop("strategy")]
        if "seed" in arguments:
            arguments["seeds"] = [arguments.pop("seed")]
        return clsim.compare(**arguments)

    return called


# --- an own source


@pytest.mark.parametrize("later", [False, True])
def test_an_own_source_trains_in_this_process_and_is_refused_by_a_comparison(
    tiny: Scenario, tmp_path: Path, later: bool
) -> None:
    own = Scenario(tiny.config, source=None if later else NotDigits(tiny.source.config))
    if later:
        own.source = NotDigits(tiny.source.config)
    with pytest.raises(ScenarioError, match=r"given 'NotDigits', a Python object, .*my_data.py:MyData"):
        clsim.compare(own, ["finetune"], out=tmp_path / "compared")
    assert not (tmp_path / "compared").exists()
    assert clsim.run(own, "finetune", out=tmp_path).record.class_names == list(own.source.class_names)
    assert len(own.benchmark().train_stream) == 3


# --- strategies


def test_strategies_may_be_one_text_classes_and_given_twice(tmp_path: Path) -> None:
    assert [one.spec for one in as_variants("er, lwf+er,er")] == ["er", "lwf+er"]
    assert [one.spec for one in as_variants(ER)] == ["er"]
    assert [one.spec for one in as_variants(name for name in ("er", ER, "lwf"))] == ["er", "lwf"]


def test_a_class_is_named_by_its_file(tmp_path: Path) -> None:
    here = Path(__file__).resolve()
    assert as_variants([AtTopLevel]) == [Variant(f"{here}:AtTopLevel")]


class AtTopLevel(Strategy):
    """Can be found again."""

    class Within(Strategy):
        """Cannot."""


@pytest.mark.parametrize("given", [3, None, {"er": 1}, [None], [3], int, [AtTopLevel()], Strategy.Options])
def test_what_is_no_strategy_is_refused(given: Any) -> None:
    with pytest.raises(StrategyError, match=r"^strateg(y|ies): given .*, expected "):
        as_variants(given)


def test_a_class_that_no_file_gives_by_its_name_is_refused() -> None:
    class Local(Strategy):
        pass

    made = type("Made", (Strategy,), {"__module__": "typed_in"})
    for kind in (Local, AtTopLevel.Within, made):
        with pytest.raises(StrategyError, match=r"cannot be named as path/to/file.py:Class, which a run needs"):
            as_variants([kind])


@pytest.mark.parametrize("unguarded", [False, True])
def test_a_script_runs_the_class_it_defines_and_must_not_run_itself_again(
    unguarded: bool, tiny_overrides: dict, tmp_path: Path
) -> None:
    script = tmp_path / "mine.py"
    overrides = tiny_overrides | {"strategy.mine.strength": 1}
    script.write_text(OWN.format(unguarded=unguarded, overrides=overrides, out=str(tmp_path / "runs")))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    if unguarded:
        assert done.stderr.splitlines()[-1].endswith(
            'uses itself while it is loaded; what starts runs stands below if __name__ == "__main__":'
        )
        assert done.stderr.splitlines()[-1].count("cannot be loaded") == 1
    else:
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "digits-b0c2" / "mine" / "seed0" / "result.json").is_file() is not unguarded


# --- numbers


def test_seeds_are_any_whole_numbers_each_once() -> None:
    for given in (np.array([2, 0, 2]), (seed for seed in (2, 0)), [np.uint8(2), 0], (2, 0, 2)):
        seeds = as_seeds(given, "seeds")
        assert seeds == (2, 0)
        assert {type(seed) for seed in seeds} == {int}


@pytest.mark.parametrize("given", [3, "0,1", b"01", {0: 1}, None, np.array(3), 1.5])
def test_what_is_no_list_of_seeds_is_refused(given: Any) -> None:
    with pytest.raises(RunError, match=r"^seeds: given .*, expected a list such as \[0, 1, 2\] or range\(3\)$"):
        as_seeds(given, "seeds")


@pytest.mark.parametrize("given", [True, np.True_, 1.0, np.float64(1), "1", None, [1]])
def test_what_is_no_whole_number_is_refused(given: Any) -> None:
    with pytest.raises(RunError, match=r"^seed: given .*, expected a whole number$"):
        as_seed(given)


# --- the other arguments, each as `run` and `compare` meet it


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"overrides": 3}, r"^overrides: given 3, expected keys and values such as {'training.epochs': 2}$"),
        ({"overrides": ["training.epochs=2"]}, "^overrides: given .'training.epochs=2'., expected keys and values"),
        ({"overrides": {1: 2}}, "^overrides: given {1: 2}, expected keys and values"),
        ({"overrides": {"strategy.er.replay": {1}}}, "^override strategy.er.replay: given .1., expected a finite"),
        ({"overrides": {"strategy.er.replay": float("nan")}}, "^override strategy.er.replay: given nan, expected a f"),
        ({"overrides": {"stream": {1: 2}}}, "^override stream: key 1 is not text$"),
        ({"out": 3}, "^out: given 3, expected the path of a folder$"),
        ({"out": "a\0b"}, "^out: given 'a.*b', a path holds no null character$"),
        ({"progress": "yes"}, "^progress: given 'yes', expected True, False, None, or an object with update, say and"),
        ({"overwrite": "no"}, "^overwrite: given 'no', expected True or False$"),
        ({"seed": True}, "^seeds?: given True, expected a whole number$"),
        ({"strategy": 3}, "^strategy: given 3, expected a name"),
        ({"scenario": None}, "^scenario: given NoneType, expected a path, a shipped name, a mapping or"),
        ({"scenario": ["digits-b0c2"]}, "^scenario: given list, expected"),
        ({"scenario": MAPPING | {"trainin": 1}}, "^scenario: trainin: unknown key, did you mean 'training'"),
        ({"scenario": {1: 2}}, "^scenario: key 1 is not text$"),
    ],
)
def test_what_cannot_be_meant_is_one_clear_line(
    call: Callable[..., Any], given: dict, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ClsimError, match=message) as raised:
        call(**given)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"workers": "2"}, "^workers: given '2', expected a whole number$"),
        ({"workers": True}, "^workers: given True, expected a whole number$"),
        ({"share_first_task": 1}, "^share_first_task: given 1, expected True or False$"),
        ({"order_seeds": 3}, "^order_seeds: given 3, expected a list"),
        ({"baseline": 3}, "^baseline: given 3, expected a name"),
        ({"strategies": ""}, "^strategy '': expected a name"),
        ({"strategies": ()}, "at least one strategy"),
    ],
)
def test_what_only_compare_may_be_given_is_checked_too(given: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(ClsimError, match=message):
        clsim.compare(**{"scenario": "digits-b0c2", "strategies": "er", "out": tmp_path / "runs"} | given)
    assert not (tmp_path / "runs").exists()


def test_resume_takes_a_path_only() -> None:
    with pytest.raises(RunError, match=r"^folder: given 3, expected the path of a folder$"):
        clsim.resume(3)  # type: ignore[arg-type]
    assert as_path("x", "out") == Path("x")


# --- Python's values for YAML's


def test_a_mapping_is_read_as_a_scenario_file_is(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\ndataset: {name: digits}\nstream: {increment: 5}\n")
    overrides = {"training.epochs": 1, "training.optimizer.lr": 0.001}
    assert load_scenario(MAPPING).config == load_scenario(file, overrides).config
    assert MAPPING["training"] == {"epochs": 1, "optimizer": {"lr": 0.001}}
    load_scenario(MAPPING, {"training.optimizer.lr": 1.0})
    assert MAPPING["training"]["optimizer"]["lr"] == 0.001


def test_values_of_numpy_tuples_and_paths_are_those_of_yaml(tmp_path: Path) -> None:
    given: dict[str, Any] = {
        "training.epochs": np.int64(3),
        "training.optimizer.lr": np.float32(0.5),
        "evaluation.thresholds": (0.5, 0.8),
        "stream.order": np.array([str(digit) for digit in range(10)]),
    }
    config = load_scenario("digits-b0c2", given).config
    assert (config.training.epochs, config.training.optimizer.lr) == (3, 0.5)
    assert list(config.evaluation.thresholds) == [0.5, 0.8]
    assert config.stream.order == [str(digit) for digit in range(10)]
    manifest = {"name": "manifest", "file": Path("table.csv"), "label_columns": "rest"}
    assert load_scenario("digits-b0c2", {"dataset": manifest}).config.dataset.file == str(Path.cwd() / "table.csv")
    assert split_overrides({"strategy.lwf.weight": np.int64(2)}) == ({}, {"lwf.weight": 2})


def test_a_mapping_that_holds_itself_is_refused() -> None:
    endless: dict[str, Any] = {}
    endless["stream"] = endless
    with pytest.raises(ScenarioError, match=r"^scenario: too large or too deeply nested"):
        load_scenario(endless)


def test_one_text_is_no_list_of_overrides() -> None:
    for given in ("training.epochs=2", 3):
        with pytest.raises(ScenarioError, match=f"^overrides: given {given!r}, expected keys and values such as"):
            load_scenario("digits-b0c2", given)  # type: ignore[arg-type]
