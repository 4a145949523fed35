"""Which differences count: pairs, baseline, correction, the best."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from clsim.errors import RunError
from clsim.report.results import Results, load_results
from clsim.report.significance import Contrast, against, choose_baseline, leaders, lower_is_better

MakeRun = Callable[..., Path]
LAST = {"finetune": [40.0, 42.0, 47.0], "er": [50.0, 51.0, 58.0], "lwf": [41.0, 41.0, 49.0]}


@pytest.fixture
def three(make_run: MakeRun, tmp_path: Path) -> Path:
    for name, values in LAST.items():
        for seed, value in enumerate(values):
            make_run(tmp_path, name, seed=seed, last_mAP=value)
    return tmp_path


def contrasts(folder: Path, baseline: str, metric: str = "last_mAP") -> dict[str, Contrast]:
    return {each.strategy: each for each in against(load_results(folder), baseline)[metric]}


def test_a_contrast_is_the_paired_t_test_corrected_by_holm(three: Path) -> None:
    found = contrasts(three, "finetune")
    p = {name: stats.ttest_rel(LAST[name], LAST["finetune"]).pvalue for name in ("er", "lwf")}
    assert p["er"] < p["lwf"]
    assert found["er"].p == pytest.approx(2 * p["er"])
    assert found["lwf"].p == pytest.approx(max(2 * p["er"], p["lwf"]))
    differences = np.subtract(LAST["er"], LAST["finetune"])
    low, high = stats.t.interval(0.95, 2, loc=differences.mean(), scale=stats.sem(differences))
    er = found["er"]
    assert (er.difference - er.difference_half, er.difference + er.difference_half) == pytest.approx((low, high))
    assert differences.min() <= er.low < er.difference < er.high <= differences.max()
    assert (er.seeds, er.pairs, er.verdict, found["lwf"].verdict) == (3, 3, "better", "")
    assert math.isnan(found["finetune"].difference)


def test_a_strategy_that_is_worse_says_so(three: Path) -> None:
    assert contrasts(three, "er")["finetune"].verdict == "worse"


def test_less_forgetting_is_better() -> None:
    row = Contrast("er", "forgetting", 3, 1, 1, 1, pairs=3, difference=-5, p=0.01)
    assert row.verdict == "better"
    assert not lower_is_better("backward_transfer")
    assert lower_is_better("tail_forgetting")


def test_pairs_are_runs_of_one_seed_and_one_class_order(make_run: MakeRun, tmp_path: Path) -> None:
    """Seed 0 of two orders and a seed without a partner: two pairs, 10 and 20 apart, not three or four."""
    for order, gap in ((3, 10.0), (4, 20.0)):
        folder = tmp_path / f"order{order}"
        make_run(folder, "er", order_seed=order, last_mAP=30.0 + order + gap)
        make_run(folder, "finetune", order_seed=order, last_mAP=30.0 + order)
    make_run(tmp_path / "order3", "er", seed=1, order_seed=3, last_mAP=99.0)
    parts = [load_results(tmp_path / f"order{order}").runs for order in (3, 4)]
    results = Results(tmp_path, (*parts[0], *parts[1]), ())
    er = next(each for each in against(results, "finetune")["last_mAP"] if each.strategy == "er")
    assert (er.seeds, er.pairs, er.difference) == (3, 2, 15)


def test_references_have_intervals_but_no_test(make_run: MakeRun, three: Path) -> None:
    for seed in range(3):
        make_run(three, "joint", seed=seed, last_mAP=80.0 + seed)
    before = {name: each.p for name, each in contrasts(three, "finetune").items()}
    joint = contrasts(three, "finetune")["joint"]
    assert math.isnan(joint.p)
    assert joint.verdict == ""
    assert joint.difference_half > 0
    p = stats.ttest_rel(LAST["er"], LAST["finetune"]).pvalue
    assert before["er"] == pytest.approx(2 * p)  # joint costs the methods nothing
    assert contrasts(three, "joint")["er"].verdict == "worse"


def test_a_metric_that_a_pair_lacks_has_no_difference(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in range(3):
        make_run(tmp_path, "er", seed=seed, forgetting=None if seed else 10.0)
        make_run(tmp_path, "finetune", seed=seed)
    er = contrasts(tmp_path, "finetune", "forgetting")["er"]
    assert er.pairs == 3
    assert all(map(math.isnan, (er.mean, er.half, er.difference, er.low, er.p)))


def test_finetune_is_the_baseline_unless_another_is_named(make_run: MakeRun, three: Path, tmp_path: Path) -> None:
    results = load_results(three)
    assert choose_baseline(results) == "finetune"
    assert choose_baseline(results, "lwf") == "lwf"
    with pytest.raises(RunError, match="baseline: given 'finetun', allowed: er, finetune, lwf, did you mean 'fine"):
        choose_baseline(results, "finetun")
    other = tmp_path / "other"
    make_run(other, "rebll")
    make_run(other, "lwf")
    assert choose_baseline(load_results(other)) == "lwf"


def test_a_winner_beats_every_other_method_with_all_pairs_corrected(three: Path) -> None:
    p = [stats.ttest_rel(LAST["er"], LAST[name]).pvalue for name in ("finetune", "lwf")]
    assert 3 * min(p) < 0.05  # Holm over the three pairs: the two of er come first
    assert 2 * max(p) < 0.05
    assert leaders(load_results(three))["last_mAP"] == ("er", True)


def test_a_method_that_beats_all_but_one_wins_nothing(make_run: MakeRun, three: Path) -> None:
    for seed, value in enumerate([49.0, 52.0, 57.0]):
        make_run(three, "rebll", seed=seed, last_mAP=value)
    assert leaders(load_results(three))["last_mAP"] == ("er", False)


def test_one_method_alone_wins_nothing(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in range(3):
        make_run(tmp_path, "er", seed=seed)
        make_run(tmp_path, "joint", seed=seed)
    assert leaders(load_results(tmp_path)) == {}


def test_fewer_than_three_pairs_have_no_verdict(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in range(2):
        make_run(tmp_path, "er", seed=seed, last_mAP=60.0 + 0.001 * seed)
        make_run(tmp_path, "finetune", seed=seed, last_mAP=10.0)
    er = contrasts(tmp_path, "finetune")["er"]
    assert (er.pairs, er.verdict) == (2, "")
    assert math.isnan(er.p)
    assert er.difference_half < 0.1  # an interval there is
    assert leaders(load_results(tmp_path))["last_mAP"] == ("er", False)
