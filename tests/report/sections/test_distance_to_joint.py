"""How far methods stay below joint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from clsim.report.results import load_results
from clsim.report.sections.distance_to_joint import distance_table, intransigence, intransigence_figure

MakeRun = Callable[..., Path]
PLAN, JOINT_PLAN = "a" * 64, "b" * 64
UPPER = [[60.0, None, None], [70.0, 75.0, None], [75.0, 80.0, 86.0]]


def joint(make_run: MakeRun, root: Path, seed: int = 0, **changes: object) -> None:
    make_run(root, "joint", seed=seed, plan_sha256=JOINT_PLAN, derived_from=PLAN, **{"R": UPPER, **changes})


def test_intransigence_is_joint_on_a_new_task_less_the_method_there(make_run: MakeRun, tmp_path: Path) -> None:
    """The diagonal of R is 60, 70, 90 for a method and 60, 75, 86 for joint; seed 2 has no joint."""
    for seed in (0, 2):
        make_run(tmp_path, "er", seed=seed)
    make_run(tmp_path, "er", seed=1, R=[[60.0, None, None], [80.0, 65.0, None], [50.0, 40.0, 90.0]])
    for seed in (1, 0):
        joint(make_run, tmp_path, seed)
    results = load_results(tmp_path)
    np.testing.assert_array_equal(intransigence(results, "er"), [[0, 5, -4], [0, 10, -4]])
    svg = str(intransigence_figure(results))
    assert "<title>er: 0.0, 7.5, -4.0</title>" in svg
    assert "<title>joint" not in svg


def test_the_distance_is_paired_with_joint(make_run: MakeRun, tmp_path: Path) -> None:
    """Means of (0, 5, -4) are 0.33; below joint 20 and 22, whose half interval is 12.706; one pair has none."""
    for seed, (upper, own) in enumerate([(80.0, 60.0), (85.0, 63.0)]):
        joint(make_run, tmp_path, seed, last_mAP=upper, avg_mAP=70.0)
        make_run(tmp_path, "er", seed=seed, last_mAP=own)
    make_run(tmp_path, "lwf", last_mAP=81.0, avg_mAP=None)
    make_run(tmp_path, "zap", seed=7)
    _, er, lwf, zap = distance_table(load_results(tmp_path))
    assert er == ("er", "2", "+21.0 ± 12.7", "+5.0 ± 0.0", "+0.3 ± 0.0")
    assert lwf == ("lwf", "1", "-1.0", "–", "+0.3")  # noqa: RUF001
    assert zap == ("zap", "0", "–", "–", "–")  # noqa: RUF001


def test_joint_that_trained_the_last_task_only_has_no_mean_but_a_last_task(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(tmp_path, "er")
    none = [None] * 3
    joint(make_run, tmp_path, R=[none, none, UPPER[2]], mAP=[None, None, 80.0], avg_mAP=None)
    results = load_results(tmp_path)
    np.testing.assert_array_equal(intransigence(results, "er"), [[np.nan, np.nan, -4]])
    assert distance_table(results)[1] == ("er", "1", "0.0", "–", "–")  # noqa: RUF001
    assert intransigence_figure(results) is not None


def test_without_joint_there_is_no_distance(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(tmp_path, "er")
    results = load_results(tmp_path)
    assert distance_table(results) == []
    assert intransigence_figure(results) is None
