from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from clsim.report.figures import styles
from clsim.report.results import load_results
from clsim.report.sections.classes import SHAPES, class_panels

MakeRun = Callable[..., Path]


def test_a_panel_per_class_in_stream_order_with_group_and_positives(runs: Path) -> None:
    panels = class_panels(load_results(runs))
    assert [(panel.name, panel.group, panel.positives) for panel in panels] == [
        ("<b>&x", "head", 510),
        ("cat", "medium", 40),
        ("dog", "tail", 7),
    ]


def test_a_panel_shows_the_mean_over_seeds_on_axes_that_all_share(make_run: MakeRun, tmp_path: Path) -> None:
    """The highest value of all classes, 90, sets the scale: 0 lies at 74, 100 at 7, the tasks at 25, 83.5 and 142."""
    make_run(tmp_path, "er", seed=0)
    make_run(tmp_path, "er", seed=1, AP=[[20.0, None, None], [40.0, 30.0, None], [50.0, 0.0, 90.0]])
    first, second, third = class_panels(load_results(tmp_path))
    assert "er: 40.0, 60.0, 50.0" in first.svg
    assert 'd="M25 47.2L83.5 33.8L142 40.5"' in first.svg
    assert "er: –, 50.0, 20.0" in second.svg  # noqa: RUF001
    assert 'd="M83.5 40.5L142 60.6"' in second.svg
    assert all(">100</text>" in panel.svg for panel in (first, second, third))
    assert 'aria-label="AP of dog after each task; after the last: er 90.0"' in third.svg


def test_low_values_stretch_the_axis_of_every_panel(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(tmp_path, "er", AP=[[5.0, None, None], [4.0, 3.0, None], [2.0, 1.0, 21.0]])
    panels = class_panels(load_results(tmp_path))
    assert all(">40</text>" in panel.svg and ">100</text>" not in panel.svg for panel in panels)


def test_a_gap_in_a_course_is_not_bridged(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(tmp_path, "er", AP=[[100.0, None, None], [None, 30.0, None], [50.0, None, None]])
    first, _, third = class_panels(load_results(tmp_path))
    assert 'd="M25 7M142 40.5"' in first.svg
    assert "not defined" in third.svg
    assert "not defined" not in first.svg


def test_only_strategies_that_recorded_the_classes_are_in_the_panels(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(tmp_path, "er", AP=None)
    make_run(tmp_path, "lwf")
    assert all("lwf" in panel.svg and "er:" not in panel.svg for panel in class_panels(load_results(tmp_path)))


def test_every_marker_of_a_strategy_has_a_shape() -> None:
    looks = styles([*(f"s{i}" for i in range(12)), "joint"], upper="joint")
    assert {look.marker for look in looks.values()} == set(SHAPES)


def test_eighty_panels_stay_light(make_run: MakeRun, tmp_path: Path) -> None:
    names = [f"class {i}" for i in range(80)]
    tasks = [
        {"index": t, "classes": names[10 * t : 10 * t + 10], "columns": [10 * t, 10 * t + 10], "train_images": 9}
        for t in range(8)
    ]
    ap = [[50.0 if c < 10 * t + 10 else None for c in range(80)] for t in range(8)]
    scalars = {"mAP": [1.0] * 8, "R": [[1.0] * 8] * 8}
    for strategy in ("er", "lwf", "rebll", "finetune", "joint"):
        make_run(tmp_path, strategy, class_names=names, tasks=tasks, AP=ap, groups=None, **scalars)
    panels = class_panels(load_results(tmp_path))
    assert len(panels) == 80
    assert {(panel.group, panel.positives) for panel in panels} == {("", None)}
    assert sum(len(panel.svg) for panel in panels) < 250_000
