"""A search looks at validation images only, goes on where it was killed, and shows its best on test images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import clsim
from clsim.errors import ClsimError
from clsim.launch.search import search_of
from clsim.launch.trials import Trials
from clsim.launch.tuning_file import tuning_of
from clsim.report.run_result import read_run
from clsim.scenario import load_scenario

RANGES = {"strategy.lwf.weight": {"log_uniform": [0.1, 4]}, "training.epochs": {"choice": [1, 2]}}
FILE = """\
tuning:
  scenario: digits-b0c2
  strategy: lwf+er(selection=herding)
  validation: 0.25
  overrides: {training.epochs: 2}
  ranges:
    strategy.lwf.weight: {log_uniform: [0.1, 4]}
  test_seeds: 10-11
"""


@pytest.mark.slow
def test_a_search_that_was_killed_goes_on_and_its_best_is_shown_on_test_images(
    tiny_overrides: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = tiny_overrides | {"stream.increment": 5}
    given: dict[str, Any] = {"overrides": overrides, "validation": 0.25, "batch": 2, "trials": 2, "test_seeds": [5]}
    given |= {"out": tmp_path, "workers": 2}

    def killed(*_: object) -> None:
        raise SystemExit

    monkeypatch.setattr(Trials, "complete", killed)
    with pytest.raises(SystemExit):
        clsim.tune("digits-b0c2", "lwf+er", RANGES, **given)
    monkeypatch.undo()
    result = clsim.tune("digits-b0c2", "lwf+er", RANGES, **given)

    home = tmp_path / "digits-b0c2-tuning"
    runs = [read_run(home / one.name / "seed0") for one in result.trials]
    assert [one.value for one in result.trials] == [run.record.avg_mAP for run in runs]
    assert {run.config["evaluation"]["on"] for run in runs} == {"validation"}
    for trial, run in zip(result.trials, runs, strict=True):
        assert run.record.options["lwf"]["weight"] == trial.params["strategy.lwf.weight"]
        assert run.config["training"]["epochs"] == trial.params["training.epochs"]
    assert result.best == max(result.trials, key=lambda trial: trial.value or 0)
    assert (home / "trials.csv").read_text().splitlines()[0] == (
        "trial,state,value,strategy.lwf.weight,training.epochs,reason"
    )

    assert result.comparison is not None
    assert result.comparison.folder == tmp_path / "digits-b0c2-tuning-test"
    assert result.comparison.baseline == "lwf+er"
    as_given, tuned = result.comparison.results.runs
    assert (as_given.name, tuned.name) == ("lwf+er/seed5", "lwf+er tuned/seed5")
    assert tuned.record.options["lwf"]["weight"] == result.best.params["strategy.lwf.weight"]
    plain = load_scenario("digits-b0c2", overrides)
    assert as_given.stream == tuned.stream == plain.plan().sha256  # all training images, and the test images


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"overrides": {"evaluation.on": "test"}},
            r"evaluation\.on: given 'test'; a search looks at validation images",
        ),
        ({"overrides": {"evaluation": {"on": "test"}}}, r"evaluation\.on: given 'test'; a search looks at validation"),
        ({"objective": "test/last_mAP"}, "objective: given 'test/last_mAP'; a search looks at validation images only"),
        ({"objective": "lst_mAP"}, "objective: given 'lst_mAP', allowed: avg_mAP, .*did you mean 'last_mAP'"),
        ({"validation": None}, r"dataset\.validation: 0, so that there is nothing to search on"),
        ({"validation": 2.0}, r"dataset\.validation: given 2\.0"),
        ({"seeds": [0, 1], "test_seeds": [1, 2]}, "test_seeds: 1 is a seed of the search too"),
        ({"trials": 0}, "trials: given 0, must be at least 1"),
        ({"batch": True}, "batch: given True, expected a whole number"),
        ({"strategy": None}, "strategy: none given"),
        ({"ranges": None}, "ranges: none given"),
        ({"strategy": "lwf(weight=2)"}, r"range strategy\.lwf\.weight: the strategy lwf sets it already"),
        ({"strategy": "er"}, r"range strategy\.lwf\.weight: unknown strategy option 'lwf\.weight'"),
        ({"ranges": {"strategy.lwf.weight": {"uniform": [-1, 1]}}}, r"range strategy\.lwf\.weight: .*given -1"),
        ({"ranges": {"training.epochs": {"choice": [1, "two"]}}}, r"range training\.epochs: .*given 'two'"),
    ],
)
def test_what_cannot_be_searched_is_one_clear_line(given: dict, message: str, tmp_path: Path) -> None:
    base = {"strategy": "lwf+er", "ranges": RANGES, "validation": 0.25, "out": tmp_path / "runs"}
    with pytest.raises(ClsimError, match=message) as raised:
        clsim.tune("digits-b0c2", **base | given)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "runs").exists()


def test_a_search_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "search.yaml"
    path.write_text(FILE)
    given = tuning_of(path)
    assert given is not None
    search = search_of(given, trials=3, overrides={"training.epochs": 1})
    assert (search.variant.spec, search.variant.options) == ("lwf+er", {"selection": "herding"})
    assert (search.trials, search.seeds, search.test_seeds) == (3, (0,), (10, 11))
    assert search.validated == {
        "training.epochs": 1,
        "dataset.validation": 0.25,
        "evaluation.on": "validation",
        "evaluation.every": "task",
    }
    for old, new, message in (
        ("log_uniform", "log_unifrom", "search.yaml:7: strategy.lwf.weight: unknown range 'log_unifrom', did you mean"),
        ("  validation", "  validtion", "search.yaml:4: tuning.validtion: unknown key, did you mean 'validation'"),
        ("herding", "hrding", "search.yaml:3: "),
    ):
        path.write_text(FILE.replace(old, new))
        with pytest.raises(ClsimError, match=message):
            clsim.tune(path)
