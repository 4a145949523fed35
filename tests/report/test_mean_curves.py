"""Mean curves of each strategy: what they are the mean of, and that nobody takes them for a run."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.util.tensor_util import make_ndarray

import clsim
from clsim.errors import RunError
from clsim.report.mean_curves import BANDS, FILE, read_curves, write_mean_curves
from clsim.report.results import load_results
from clsim.report.writing import write_report
from clsim.running.run_folder import RunFolder


def read(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0}).Reload()


def scalars(folder: Path) -> dict[tuple[str, int], float]:
    events = read(folder)
    found = [(tag, event) for tag in events.Tags()["scalars"] for event in events.Scalars(tag)]
    assert len({(tag, event.step) for tag, event in found}) == len(found), "a point is there twice"
    return {(tag, event.step): event.value for tag, event in found}


def line(**values: float | None) -> str:
    return json.dumps({"phase": "eval", "task": 0, "step": 1, "values": values}) + "\n"


@pytest.fixture
def pair(make_run: Callable[..., Path], tmp_path: Path) -> Path:
    """er with two seeds, joint with one; one value that only one seed has, one that is undefined in one."""
    for strategy, seed, values in (
        ("er", 0, {"mAP/seen": 50.0, "AP": 1.0, "only": 7.0, "null": 1.0}),
        ("er", 1, {"mAP/seen": 70.0, "AP": 2.0, "null": None}),
        ("joint", 0, {"mAP/seen": 90.0}),
    ):
        (make_run(tmp_path, strategy, seed) / "metrics.jsonl").write_text(line(**values))
    return tmp_path


def test_the_curves_are_the_means_over_the_seeds_of_a_real_comparison(comparison: clsim.Comparison) -> None:
    comparison.report()
    for strategy in ("finetune", "joint"):
        seeds = [read_curves(RunFolder(comparison.folder / strategy / f"seed{seed}")) for seed in (0, 1)]
        assert {("per_class_AP/0", 1), ("mAP/task_02", 3), ("mAP/seen", 3), ("loss/total", 6)} <= set(seeds[0])
        found = scalars(comparison.folder / strategy / "mean")
        means = {point: value for point, value in found.items() if not point[0].startswith("spread/")}
        expected = {point: np.mean([seeds[0][point], seeds[1][point]]) for point in seeds[0] if point in seeds[1]}
        assert means == pytest.approx(expected, rel=1e-6)
        assert len({value for (tag, _), value in means.items() if tag == "mAP/seen"}) == 3
        for bound, choose in (("lowest", min), ("highest", max)):
            assert found[f"spread/mAP/seen/{bound}", 3] == pytest.approx(
                choose(seed["mAP/seen", 3] for seed in seeds), rel=1e-6
            )


def test_a_point_needs_a_value_of_every_seed(pair: Path) -> None:
    write_mean_curves(load_results(pair))
    spread = {(f"spread/mAP/seen/{name}", 1): value for name, value in (("mean", 60), ("lowest", 50), ("highest", 70))}
    assert scalars(pair / "er" / "mean") == {("mAP/seen", 1): 60.0, ("AP", 1): 1.5, **spread}
    assert scalars(pair / "joint" / "mean")["mAP/seen", 1] == 90.0, "a strategy with one run stands beside the means"


def test_several_class_orders_have_means_of_their_own_and_one_over_all(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    for order, values in ((0, (40.0, 60.0)), (1, (70.0, 90.0))):
        for seed, value in enumerate(values):
            run = make_run(tmp_path / f"order{order}", "er", seed)
            (run / "metrics.jsonl").write_text(line(**{"mAP/seen": value}))
    write_report(tmp_path)
    means = {name: scalars(tmp_path / name / "mean") for name in ("er", "order0/er", "order1/er")}
    assert {name: found["mAP/seen", 1] for name, found in means.items()} == {
        "er": 65.0,
        "order0/er": 50.0,
        "order1/er": 80.0,
    }
    assert (means["er"]["spread/mAP/seen/lowest", 1], means["er"]["spread/mAP/seen/highest", 1]) == (40.0, 90.0)
    write_report(tmp_path)  # again, with the means beside the runs
    assert scalars(tmp_path / "er" / "mean") == means["er"]


def test_the_margin_charts_name_curves_that_are_there(comparison: clsim.Comparison) -> None:
    comparison.report()
    events = read(comparison.folder / "finetune" / "mean")
    layout = Layout.FromString(make_ndarray(events.Tensors("custom_scalars__config__")[0].tensor_proto).item())
    charts = [chart for category in layout.category for chart in category.chart]
    titles = [chart.title for chart in charts]
    assert titles[-3:] == [BANDS[tag] for tag in list(BANDS)[2::-1]], "TensorBoard shows the last one first"
    tags = set(events.Tags()["scalars"])
    for chart in charts:
        (series,) = chart.margin.series
        assert {series.value, series.lower, series.upper} <= tags
        assert all(tag.startswith("spread/") for tag in (series.value, series.lower, series.upper)), "of no single run"


def test_writing_again_replaces_the_file_by_an_equal_one(pair: Path) -> None:
    (written, _) = write_mean_curves(load_results(pair))
    before = written.read_bytes()
    os.utime(written, (0, 0))
    assert write_mean_curves(load_results(pair))[0] == written
    assert written.read_bytes() == before
    assert sorted(path.name for path in written.parent.iterdir()) == [FILE]


def test_means_are_no_runs(pair: Path) -> None:
    runs = load_results(pair).runs
    write_report(pair)
    assert (pair / "er" / "mean" / FILE).is_file()
    assert [run.folder for run in load_results(pair).runs] == [run.folder for run in runs]
    assert load_results(pair).unfinished == ()


def test_a_mean_of_nothing_is_not_written_and_an_old_one_goes(pair: Path) -> None:
    write_mean_curves(load_results(pair))
    shutil.rmtree(pair / "er" / "seed1")
    assert write_mean_curves(load_results(pair)) == []
    assert not (pair / "er" / "mean").exists()
    assert not (pair / "joint" / "mean").exists()


def test_a_report_elsewhere_leaves_the_runs_alone(pair: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    write_report(pair, tmp_path_factory.mktemp("elsewhere"))
    assert not list(pair.rglob("*tfevents*"))


def test_runs_without_curves_still_have_a_report(pair: Path) -> None:
    (pair / "er" / "seed1" / "metrics.jsonl").unlink()
    write_report(pair)
    assert not (pair / "er" / "mean").exists()


@pytest.mark.parametrize(
    ("text", "why"),
    [('{"step": 2, "val', "not readable as JSON"), ('{"values": {"x": 1}}', "not a line of metrics: .*step")],
)
def test_a_damaged_line_is_named(pair: Path, text: str, why: str) -> None:
    path = pair / "er" / "seed1" / "metrics.jsonl"
    path.write_text(path.read_text() + text)
    with pytest.raises(RunError, match=rf"er/seed1/metrics\.jsonl, line 2: {why}"):
        write_mean_curves(load_results(pair))
