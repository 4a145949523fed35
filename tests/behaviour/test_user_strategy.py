"""A method in a file of its own works as a shipped one: from Python, from compare, with options of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import clsim
from clsim.errors import StrategyError
from clsim.report.writing import write_report
from clsim.training.composition import Composition
from clsim.training.losses.binary import masked_bce
from clsim.training.strategy_specs import strategy_class

FILE = Path(__file__).parents[2] / "docs" / "examples" / "my_method.py"
MY = f"{FILE}:MyMethod"


def result_of(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


def run(strategy: str, overrides: dict[str, Any], out: Path, **options: Any) -> dict[str, Any]:
    given = {f"strategy.{key}": value for key, value in options.items()}
    return result_of(clsim.run("digits-b0c2", strategy, overrides=overrides | given, out=out).folder)


def test_the_example_is_short() -> None:
    assert len(FILE.read_text().splitlines()) < 25


def test_it_reads_negatives_as_it_says_and_leaves_all_else() -> None:
    criterion: Any = strategy_class(MY)().criterion()
    logits = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    smooth = torch.tensor([[1.0, 0.1, -1.0], [0.1, 0.4, 1.0]])
    assert torch.equal(criterion(logits, torch.tensor([[1.0, 0.0, -1.0], [0.0, 0.4, 1.0]])), masked_bce(logits, smooth))


def test_run_trains_it_under_its_own_name_with_its_option(tiny_overrides: dict[str, Any], tmp_path: Path) -> None:
    result = run(MY, tiny_overrides, tmp_path, **{"my.missed": 0.25})
    assert (result["strategy"], result["options"]) == ("my", {"my": {"missed": 0.25}})
    assert 0 < result["last_mAP"] < 100
    assert (tmp_path / "digits-b0c2" / "my" / "seed0" / "result.json").is_file()


def test_its_option_matters(tiny_overrides: dict[str, Any], tmp_path: Path) -> None:
    one, other = (run(MY, tiny_overrides, tmp_path / str(m), **{"my.missed": m}) for m in (0.0, 0.4))
    plain = run("finetune", tiny_overrides, tmp_path / "plain")
    assert one["mAP"] == plain["mAP"]
    assert other["mAP"] != plain["mAP"]


def test_it_combines_with_shipped_methods(tiny_overrides: dict[str, Any], tmp_path: Path) -> None:
    result = run(f"lwf+er+{MY}", tiny_overrides, tmp_path, **{"my.missed": 0.2, "lwf.weight": 0.5})
    assert result["strategy"] == "lwf+er+my"
    assert result["memory"]["rows"] == 20
    assert result["options"]["my"] == {"missed": 0.2}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"my.missed": 0.7}, r"my\.missed: given 0\.7, .*less than 0\.5"),
        ({"my.missed": "often"}, r"my\.missed: given 'often', .*number"),
        ({"my.mised": 0.1}, r"unknown strategy option 'my\.mised', did you mean 'my\.missed'"),
    ],
)
def test_its_option_is_checked_as_a_shipped_ones(options: dict[str, Any], message: str) -> None:
    with pytest.raises(StrategyError, match=message):
        Composition(MY, options)


def test_compare_sets_it_beside_shipped_ones(
    tiny_overrides: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(FILE.parent)
    comparison = clsim.compare(
        "digits-b0c2",
        ["finetune", "my_method.py:MyMethod"],
        overrides=tiny_overrides | {"strategy.my.missed": 0.3},
        out=tmp_path,
        workers=2,
    )
    assert comparison.failed == {}
    assert list(comparison.frame["strategy"]) == ["finetune", "my"]
    assert {run.stream for run in comparison.results.runs} == {comparison.results.runs[0].stream}
    assert result_of(comparison.folder / "my" / "seed0")["options"] == {"my": {"missed": 0.3}}
    assert "| my |" in comparison.table()


AGAIN = '''
import dataclasses

import clsim


class Again(clsim.Strategy):
    """The stream and then its first task once more, which brings no new class."""

    name = "again"

    def derive_plan(self, plan, truth):
        last = dataclasses.replace(plan.tasks[0], classes=(plan.n_classes, plan.n_classes))
        return dataclasses.replace(plan, tasks=(*plan.tasks, last), derived_from=plan.family)
'''


@pytest.mark.parametrize(
    ("parts", "options"),
    [
        ("rebll", {"er.current_classes": "refresh", "or.threshold": "prior"}),
        ("finetune", {"finetune.old_classes": "negative"}),
    ],
)
def test_a_task_may_bring_no_new_class(
    parts: str, options: dict[str, Any], tiny_overrides: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "again.py").write_text(AGAIN)
    overrides = tiny_overrides | {"evaluation.every": "epoch"}
    result = run(f"{parts}+{tmp_path}/again.py:Again", overrides, tmp_path, **options)
    assert len(result["mAP"]) == len(result["tasks"]) == 4
    assert [row[3] for row in result["R"]] == [None] * 4
    assert None not in result["R"][3][:3]
    assert 0 < result["last_mAP"] < 100
    assert write_report(tmp_path / "digits-b0c2").is_file()
