"""Several comparisons are reported together where they met the same stream, and refused where they did not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from clsim.errors import RunError
from clsim.report.results import load_results
from clsim.report.several import together
from clsim.report.writing import write_report

MakeRun = Callable[..., Path]
HERDING = {"er": {"selection": "herding"}}
RANDOM = {"er": {"selection": "random"}}


@pytest.fixture
def two(make_run: MakeRun, tmp_path: Path) -> list[Path]:
    """Two comparisons; both have er with seed 1, of equal settings, and picked, of different ones."""
    first, second = tmp_path / "first", tmp_path / "x" / "second"
    for seed in (0, 1):
        make_run(first, "er", seed, options=RANDOM)
    make_run(first, "joint", derived_from="a" * 64, plan_sha256="b" * 64, reference="upper", format=2)
    make_run(first, "picked", options=RANDOM)
    for seed in (1, 2):
        make_run(second, "er", seed, options=RANDOM, last_mAP=50.0)
    make_run(second, "picked", options=HERDING)
    return [first, second]


def test_seeds_of_equal_settings_are_joined_and_other_settings_stay_apart(two: list[Path]) -> None:
    results = together([load_results(folder) for folder in two])
    assert [run.name for run in results.runs] == [
        *("er/seed0", "er/seed1", "er/seed2", "picked/seed0", "picked [second]/seed0", "joint/seed0")
    ]
    assert [run.record.last_mAP for run in results.of("er")] == [60.0, 60.0, 50.0]
    assert results.upper == "joint"


def test_other_settings_of_the_scenario_stay_apart_too(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(tmp_path / "a" / "digits", "er", config="name: toy\ntraining: {epochs: 6}\n")
    make_run(tmp_path / "b" / "digits", "er", config="name: toy\ntraining: {epochs: 7}\n")
    results = together([load_results(tmp_path / name / "digits") for name in "ab"])
    assert results.strategies == ["er", "er [b/digits]"]


def test_one_report_is_written_beside_none_of_the_runs(two: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "both"
    assert write_report(two, out, baseline="er") == out / "report.html"
    assert "picked [second]" in (out / "results.md").read_text()
    assert {path.name for path in out.iterdir() if path.is_dir()} == set()
    for given, message in ((None, "--out: none is given"), (two[1], "--out: .*second holds runs")):
        with pytest.raises(RunError, match=message):
            write_report(two, given)


def test_different_streams_are_refused_with_their_folders(two: list[Path], make_run: MakeRun, tmp_path: Path) -> None:
    make_run(tmp_path / "other", "er", plan_sha256="c" * 64)
    with pytest.raises(RunError, match="different streams") as raised:
        write_report([*two, tmp_path / "other"], tmp_path / "both")
    assert str(raised.value).splitlines()[1:] == [
        f"  plan {'a' * 64}: {two[0]} (toy), {two[1]} (toy)",
        f"  plan {'c' * 64}: {tmp_path / 'other'} (toy)",
    ]
    assert not (tmp_path / "both").exists()
    make_run(tmp_path / "zero", "er", config="evaluation: {empty_classes: zero}\n")
    with pytest.raises(RunError, match=r"evaluation\.empty_classes differs"):
        write_report([*two, tmp_path / "zero"], tmp_path / "both")


def test_class_orders_are_joined_one_by_one(make_run: MakeRun, tmp_path: Path) -> None:
    plans = {0: "a" * 64, 1: "c" * 64}
    for name, strategy in (("a", "er"), ("b", "lwf")):
        for order, plan in plans.items():
            make_run(tmp_path / name / f"order{order}", strategy, order_seed=order, plan_sha256=plan)
    out = tmp_path / "both"
    assert write_report([tmp_path / "a", tmp_path / "b"], out) == out / "report.html"
    assert (out / "order1" / "report.html").is_file()
    assert "| lwf | 2 |" in (out / "results.md").read_text()
    make_run(tmp_path / "c", "er")
    with pytest.raises(RunError, match=r"c: no folders order<k> of class orders"):
        write_report([tmp_path / "a", tmp_path / "c"], out)
