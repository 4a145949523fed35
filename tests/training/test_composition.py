"""Strategies by name and from a file, their options, and what may be combined."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clsim import kit
from clsim.errors import StrategyError
from clsim.launch.part_listing import list_parts
from clsim.launch.variants import as_variants, compose
from clsim.running.run_identity import identity
from clsim.scenario import Scenario, load_scenario
from clsim.training.composition import Composition
from clsim.training.strategy import Strategy
from clsim.training.strategy_specs import registered, strategy_class

USER_FILE = """
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import Field

from clsim.training import strategy
from clsim.training.strategy import Strategy


@dataclass
class Note:
    text: str


class Mine(Strategy):
    name = "mine"

    class Options(strategy.Options):
        mode: Literal["a", "b"] = Field("a", description="which way")
        weight: float = Field(1.0, description="how much")


class Rival(Strategy):
    claims: ClassVar[frozenset[str]] = frozenset({"memory"})


class Other:
    pass
"""


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    path = tmp_path / "methods.py"
    path.write_text(USER_FILE)
    return path


# --- names


def test_the_shipped_strategies_are_found_by_name_and_named_so() -> None:
    assert {"er", "finetune", "joint", "lwf"} <= set(registered())
    assert list(registered()) == sorted(registered())
    for name in registered():
        assert issubclass(strategy_class(name), Strategy)
        assert strategy_class(name).name == name


def test_a_composition_is_named_by_its_parts() -> None:
    assert Composition("lwf").name == "lwf"
    assert Composition(" lwf + er ").name == "lwf+er"


def test_an_unknown_name_gets_the_nearest_one_and_all_there_are() -> None:
    with pytest.raises(StrategyError, match=r"unknown strategy 'finetun', did you mean 'finetune'\?; available: .*er"):
        Composition("finetun")


@pytest.mark.parametrize("spec", ["", "lwf+", "+er", "lwf++er"])
def test_an_empty_part_is_refused_with_an_example(spec: str) -> None:
    with pytest.raises(StrategyError, match=r"names joined with \+, such as lwf\+er"):
        Composition(spec)


def test_a_part_named_twice_is_refused() -> None:
    with pytest.raises(StrategyError, match="named twice"):
        Composition("er+er")


# --- combining


def test_two_parts_that_decide_the_same_are_refused_by_name() -> None:
    with pytest.raises(StrategyError, match="finetune and lwf both decide the old_classes and cannot be combined"):
        Composition("finetune+lwf")


def test_a_users_part_conflicts_as_a_shipped_one_does(user_file: Path) -> None:
    with pytest.raises(StrategyError, match="er and rival both decide the memory"):
        Composition(f"er+{user_file}:Rival")


def test_a_part_that_restarts_cannot_be_combined() -> None:
    with pytest.raises(StrategyError, match="joint retrains from scratch at every task and cannot be combined"):
        Composition("joint+er")


def test_the_order_of_the_parts_does_not_matter(build: Any, learn: Any, same_weights: Any) -> None:
    assert same_weights(learn(build("lwf+er")), learn(build("er+lwf")))


# --- options


@pytest.mark.parametrize("key", ["weight", "lwf.weight"])
def test_an_option_is_given_with_or_without_its_part(key: str) -> None:
    assert Composition("lwf+er", {key: 2.5}).options()["lwf"]["weight"] == 2.5


def test_an_option_without_a_part_reaches_every_part_that_has_it(user_file: Path) -> None:
    options = Composition(f"lwf+{user_file}:Mine", {"weight": 3.0}).options()
    assert options["lwf"]["weight"] == options["mine"]["weight"] == 3


@pytest.mark.parametrize("order", [1, -1])
def test_an_option_of_a_part_wins_over_one_for_all(user_file: Path, order: int) -> None:
    given = [("weight", 3.0), ("lwf.weight", 4.0)][::order]
    options = Composition(f"lwf+{user_file}:Mine", dict(given)).options()
    assert (options["lwf"]["weight"], options["mine"]["weight"]) == (4, 3)


@pytest.mark.parametrize("key", ["weigth", "lwf.weigth", "er.weight", "lwf."])
def test_an_unknown_option_is_refused_with_all_that_are_allowed(key: str) -> None:
    with pytest.raises(
        StrategyError, match=rf"unknown strategy option '{key}'.*allowed: lwf\.weight, lwf\.old_classes"
    ):
        Composition("lwf", {key: 1.0})


def test_an_option_that_only_another_strategy_has_may_be_shared_between_several() -> None:
    composed = {entry.spec: entry.composition for entry in compose(as_variants("finetune, lwf+er"), {"weight": 2.0})}
    assert composed["finetune"].given == {}
    assert composed["lwf+er"].options()["lwf"]["weight"] == 2
    with pytest.raises(StrategyError, match="unknown strategy option 'weight'"):
        compose(as_variants("finetune, er"), {"weight": 2.0})


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("lwf", {"weight": -1.0}, r"lwf\.weight: given -1\.0, .*greater than or equal to 0"),
        ("er", {"replay": "pairs"}, r"er\.replay: given 'pairs', .*'concat' or 'paired'"),
        ("lwf+er", {"weight": "much"}, r"lwf\.weight: given 'much', .*number"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_allowed(spec: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(StrategyError, match=message):
        Composition(spec, options)


def test_replay_without_a_memory_is_refused_with_an_example() -> None:
    config = load_scenario("digits-b0c2", {"memory.budget": "none"}).config
    with pytest.raises(StrategyError, match=r"er needs a memory: set memory\.budget, for example"):
        Composition("lwf+er").check(config, 10)


# --- names for several parts with options


def test_a_name_for_parts_sets_their_defaults_and_the_user_wins() -> None:
    assert Composition("icarl").options()["er"]["selection"] == "herding"
    for given in ({"selection": "random"}, {"er.selection": "random"}):
        assert Composition("icarl", given).options()["er"]["selection"] == "random"
    assert Composition("icarl").options() == Composition("lwf+er", {"er.selection": "herding"}).options()
    assert Composition("icarl").name == "icarl"
    assert Composition("icarl").given == {}
    assert Composition("lwf-mc").options() == Composition("lwf").options()
    shown = {row[0]: row[2] for row in list_parts("strategy", "icarl+or").rows}
    assert (shown["strategy.er.selection"], shown["strategy.er.replay"]) == ('"herding"', '"concat"')


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("prs", "er(selection=prs, replay=paired)"),
        ("ocdm", "er(selection=ocdm, replay=paired)"),
        ("rclp", "pseudo+er+or(rule=f1, current_classes=ignore, replay=paired, or.threshold=f1)"),
    ],
)
def test_a_name_is_the_composition_that_the_docs_say(name: str, meaning: str) -> None:
    named, spelt = (compose(as_variants(text), {})[0].composition for text in (name, meaning))
    assert named.options() == spelt.options()
    assert (named.name, named.given) == (name, {})


def test_options_that_a_name_sets_are_in_the_identity_of_its_runs(tiny: Scenario) -> None:
    launch: dict[str, Any] = {"seed": 0, "device": "cpu", "threads": 1}
    one, other = (identity(tiny, "er-ace", given, **launch) for given in ({}, {"er.replay": "concat"}))
    assert {key for key in one if one[key] != other[key]} == {"strategy.er.replay"}
    assert one["strategy.er.replay"] == "paired"


def test_a_name_may_stand_for_names_and_its_paths_start_at_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from clsim import kit\n\n\nclass Outer(kit.Strategy):\n    name = 'outer'\n    made_of = ('icarl', 'or')\n"
        "    part_options = {'er.selection': 'keep.py:Keep', 'or.fallback': 0.5}\n\n\n"
        "class Wrong(Outer):\n    part_options = {'er.selektion': 'herding'}\n"
    )
    (tmp_path / "keep.py").write_text("def Keep(labels, seed, task, count): ...\n")
    options = Composition(f"{path}:Outer").options()
    assert list(options) == ["lwf", "er", "or"]
    assert (options["er"]["selection"], options["or"]["fallback"]) == (f"{tmp_path / 'keep.py'}:Keep", 0.5)
    with pytest.raises(StrategyError, match=r"outer: part_options: .*'er\.selektion', did you mean 'er\.selection'"):
        Composition(f"{path}:Wrong")


def test_er_ace_is_half_of_its_sources_loss(build: Any) -> None:
    """Half of the sum of two means over as many rows each; an old class of a new row has no gradient."""
    template, seen = build("er-ace"), []

    class Look(kit.Plugin):
        def before_backward(self, learner: kit.Learner, **kwargs: Any) -> None:
            if learner.position.task:
                y, z, old = learner.mb_y, learner.mb_output, learner.replayed
                halves = [kit.masked_bce(z[rows], y[rows]) for rows in (old, ~old)]
                equal = int(old.sum()) == int((~old).sum())
                seen.append((learner.loss.item(), sum(half.item() for half in halves) / 2, equal))
                assert (y[~old][:, : learner.experience.classes_in_this_experience[0]] == -1).all()

        def state_dict(self) -> dict[str, Any]:
            return {}

    template.plugins.append(Look())
    template.learn(template.benchmark.train_stream[:2], template.benchmark.evaluation_stream)
    assert seen
    for loss, half, equal in seen:
        assert equal
        assert loss == pytest.approx(half, rel=1e-5)


# --- files


def test_a_strategy_in_a_file_has_its_options_checked_and_is_located(user_file: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(user_file.parent)
    composition = Composition("er+methods.py:Mine", {"mode": "b"})
    assert composition.name == "er+mine"
    assert composition.options()["mine"] == {"mode": "b", "weight": 1.0}
    assert composition.located == f"er+{user_file.resolve()}:Mine"
    with pytest.raises(StrategyError, match=r"mine\.mode: given 'c'"):
        Composition("methods.py:Mine", {"mode": "c"})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StrategyError, match=r"expected path/to/file\.py:Class, and no file '.*gone\.py' is there"):
        Composition(f"{tmp_path / 'gone.py'}:Mine")


def test_a_file_without_a_class_name_is_told_the_form(user_file: Path) -> None:
    with pytest.raises(StrategyError, match=r"expected path/to/file\.py:Class$"):
        Composition(str(user_file))


def test_a_missing_class_gets_the_ones_there_are(user_file: Path) -> None:
    with pytest.raises(StrategyError, match=r"defines no 'Mien', did you mean 'Mine'\?; it has: Mine, Rival"):
        Composition(f"{user_file}:Mien")


def test_a_class_that_is_no_strategy_is_refused(user_file: Path) -> None:
    with pytest.raises(StrategyError, match=r"is not a subclass of clsim\.Strategy"):
        Composition(f"{user_file}:Other")


def test_a_file_that_fails_is_refused_with_its_error(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("import no_such_module")
    with pytest.raises(StrategyError, match=r"broken\.py:1: cannot be loaded: ModuleNotFoundError: .*no_such_module"):
        Composition(f"{path}:Mine")


# --- the first task


def test_strategies_that_do_the_same_in_the_first_task_say_so(build: Any, learn: Any, same_weights: Any) -> None:
    specs = ["finetune", "er", "lwf", "lwf+er"]
    assert len({Composition(spec).first_task_key() for spec in specs}) == 1
    first, *others = (learn(build(spec), tasks=1) for spec in specs)
    assert all(same_weights(first, other) for other in others)


def test_one_part_that_shares_no_first_task_decides_for_all(user_file: Path) -> None:
    assert Composition("joint").first_task_key() is None
    assert Composition(f"lwf+{user_file}:Mine").first_task_key() is None


def test_the_criterion_is_masked_bce_unless_a_part_brings_one() -> None:
    from clsim.scenario.training_schema import BceSection
    from clsim.training.losses.binary import masked_bce

    assert Composition("lwf+er").criterion(BceSection(name="bce")).func is masked_bce


def test_a_part_that_asks_for_the_truth_is_named_unless_the_plan_says_so(tmp_path: Path) -> None:
    file = tmp_path / "peek.py"
    file.write_text(
        'import clsim\n\nclass Peek(clsim.Strategy):\n    name = "peek"\n\n'
        "    def derive_plan(self, plan, truth):\n        self.truth = truth\n"
    )
    peeking = Composition(f"er+{file}:Peek")
    assert peeking.given_truth(derived=False) == "peek: derive_plan was given the true labels"
    assert peeking.given_truth(derived=True) == Composition("er").given_truth(derived=False) == ""
