"""The event files, read back with TensorBoard's own reader."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from avalanche.evaluation.metric_results import MetricValue
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.util.tensor_util import make_ndarray
from torch.utils.tensorboard.summary import compute_curve

import clsim
from clsim.evaluation.history import History
from clsim.evaluation.tensorboard import (
    FINAL_METRICS,
    PR_CLASSES,
    PR_THRESHOLDS,
    TensorBoardCurves,
    pr_columns,
    pr_curves,
)
from clsim.running.run_folder import RunFolder
from clsim.scenario.plan.stream_plan import ClassGroups, StreamPlan, TaskPlan
from clsim.strict_json import finite_or_null
from tests.fixtures.logged import lines_of

NO_MEMORY = SimpleNamespace(  # a template whose run has none
    evaluator=SimpleNamespace(metrics=[]), position=SimpleNamespace(task=0), score_every="task"
)


@pytest.fixture(scope="module")
def events(finished_run: Path) -> EventAccumulator:
    return read(finished_run)


def read(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0}).Reload()


@pytest.fixture(scope="module")
def lines(finished_run: Path) -> list[dict]:
    return lines_of(finished_run)


def test_curves_are_exactly_the_defined_values_of_the_metrics_file(events: EventAccumulator, lines: list[dict]) -> None:
    recorded = {
        (tag, line["step"]): np.float32(value)
        for line in lines
        for tag, value in line["values"].items()
        if value is not None
    }
    read = {(tag, event.step): event.value for tag in events.Tags()["scalars"] for event in events.Scalars(tag)}
    assert read == recorded


def test_the_named_curves_are_there(events: EventAccumulator) -> None:
    tags = set(events.Tags()["scalars"])
    assert {"mAP/seen", "mAP/task_00", "mAP/task_02", "forgetting/mean", "forgetting/task_00"} <= tags
    assert {"loss/total", "loss/classification", "loss/distillation", "learning_rate"} <= tags
    assert {"mAP/average", "threshold_0.5/CF1", "threshold_0.8/CF1_harmonic", "threshold_0.8/FNR"} <= tags
    assert {"ranking/AUC", "ranking/LRAP", "calibration/ECE", "calibration/ECE_classes"} <= tags
    assert {"threshold_0.5/Hamming", "threshold_prevalence/CF1", "threshold_prevalence/OF1"} <= tags
    assert {
        "groups/head_mAP",
        "groups/tail_mAP",
        "groups/tail_forgetting",
        "per_class_AP/0",
        "per_class_AP/9",
        "memory/rows",
    } <= tags


def test_task_curves_begin_when_the_task_is_learnt(events: EventAccumulator) -> None:
    assert [event.step for event in events.Scalars("mAP/seen")] == [1, 2, 3]
    assert [event.step for event in events.Scalars("mAP/task_01")] == [2, 3]


def test_loss_curves_have_a_point_for_each_epoch_and_terms_add_up(events: EventAccumulator) -> None:
    total, parts = events.Scalars("loss/total"), events.Scalars("loss/classification")
    assert [event.step for event in total] == [1, 2, 3, 4, 5, 6]
    distillation = {event.step: event.value for event in events.Scalars("loss/distillation")}
    assert set(distillation) == {3, 4, 5, 6}  # no teacher in the first task
    for whole, part in zip(total, parts, strict=True):
        assert whole.value == pytest.approx(part.value + distillation.get(whole.step, 0.0), rel=1e-5)


def test_the_matrix_is_an_image_after_each_task(events: EventAccumulator) -> None:
    images = events.Images("pictures/R")
    assert [image.step for image in images] == [1, 2, 3]
    assert images[0].width == images[0].height > 100


def test_class_forgetting_is_one_point_for_each_class_before_the_last_task(events: EventAccumulator) -> None:
    tags = [tag for tag in events.Tags()["scalars"] if tag.startswith("per_class_forgetting/")]
    assert tags == [f"per_class_forgetting/{digit}" for digit in range(8)]
    assert {event.step for tag in tags for event in events.Scalars(tag)} == {3}


def test_the_bars_of_the_classes_are_an_image_after_each_task(events: EventAccumulator) -> None:
    images = events.Images("pictures/AP of each class")
    assert [image.step for image in images] == [1, 2, 3]
    assert len({(image.width, image.height) for image in images}) == 1
    assert len({image.encoded_image_string for image in images}) == 3


def test_the_reliability_diagram_is_an_image_after_the_last_task(events: EventAccumulator) -> None:
    (image,) = events.Images("pictures/reliability")
    assert image.step == 3
    assert image.height > image.width > 100


def test_the_labels_of_the_memory_are_an_image_after_each_task(events: EventAccumulator) -> None:
    images = events.Images("pictures/labels of the memory")
    assert [image.step for image in images] == [1, 2, 3]
    assert len({image.encoded_image_string for image in images}) == 3


def charts(events: EventAccumulator) -> dict[str, list[str]]:
    """The curves that each chart of the layout finds."""
    tensor = events.Tensors("custom_scalars__config__")[0].tensor_proto
    layout = Layout.FromString(make_ndarray(tensor).item())
    patterns = {chart.title: list(chart.multiline.tag) for category in layout.category for chart in category.chart}
    tags = events.Tags()["scalars"]
    return {title: [tag for tag in tags if any(re.match(one, tag) for one in each)] for title, each in patterns.items()}


def test_a_layout_combines_curves(events: EventAccumulator) -> None:
    found = charts(events)
    assert all(found.values())
    assert "mAP inside the tasks" not in found
    assert "top-1 accuracy" not in found
    assert found["CF1 at each threshold"] == ["threshold_0.5/CF1", "threshold_0.8/CF1"]
    assert set(found["forgetting of each task"]) == {"forgetting/task_00", "forgetting/task_01", "forgetting/mean"}
    assert len(found["FPR and FNR at each threshold"]) == 4


@pytest.mark.parametrize(
    ("strategy", "more", "there", "absent"),
    [
        ("er", {"evaluation.every": {"images": 20}}, "mAP inside the tasks", "top-1 accuracy"),
        ("er", {"dataset.labels_per_scene": [1, 1]}, "top-1 accuracy", "mAP inside the tasks"),
    ],
)
def test_a_chart_is_there_if_runs_of_the_scenario_have_its_curves(
    strategy: str, more: dict[str, Any], there: str, absent: str, tiny_overrides: dict[str, Any], tmp_path: Path
) -> None:
    found = charts(read(clsim.run("digits-b0c2", strategy, overrides=tiny_overrides | more, out=tmp_path).folder))
    assert all(found.values())
    assert there in found
    assert absent not in found


def test_precision_recall_curves_are_those_of_the_classes_seen(events: EventAccumulator) -> None:
    tags = [tag for tag in events.Tags()["tensors"] if tag.startswith("PR/")]
    assert tags == [f"PR/{digit}" for digit in range(10)]
    assert [event.step for event in events.Tensors("PR/0")] == [1, 2, 3]
    assert [event.step for event in events.Tensors("PR/9")] == [3]
    assert events.SummaryMetadata("PR/0").plugin_data.plugin_name == "pr_curves"


def hparams(events: EventAccumulator) -> dict[str, HParamsPluginData]:
    content = events.PluginTagToContent("hparams")
    return {tag.rpartition("/")[2]: HParamsPluginData.FromString(data) for tag, data in content.items()}


def test_hyperparameters_are_in_the_event_file_of_the_curves(events: EventAccumulator, finished_run: Path) -> None:
    assert len(list(finished_run.rglob("events.*"))) == 1
    values = hparams(events)["session_start_info"].session_start_info.hparams
    assert (values["scenario"].string_value, values["strategy"].string_value) == ("digits-b0c2", "lwf+er")
    assert (values["seed"].number_value, values["training.epochs"].number_value) == (3, 2)
    assert values["training.optimizer.lr"].number_value == 3e-3
    assert values["memory.budget.per_class"].number_value == 2
    assert values["strategy.lwf.weight"].number_value > 0
    assert not any(name.startswith("dataset.") for name in values)


def test_the_final_metrics_of_the_hparams_page_are_curves(events: EventAccumulator, finished_run: Path) -> None:
    experiment = hparams(events)["experiment"].experiment
    assert [info.name.tag for info in experiment.metric_infos] == list(FINAL_METRICS)
    result = json.loads((finished_run / "result.json").read_text())
    expected = [result[name] for name in ("last_mAP", "avg_mAP", "forgetting")] + [result["groups"]["last_mAP"]["tail"]]
    assert [events.Scalars(tag)[-1].value for tag in FINAL_METRICS] == pytest.approx(expected, rel=1e-6)


def test_the_session_ends_with_the_last_task(events: EventAccumulator) -> None:
    assert "session_end_info" in hparams(events)


TRUTH = np.array([[1, 0, 0], [0, -1, 0], [1, 1, 0], [0, 0, 0]], dtype=np.int8)
SCORES = np.array([[2.0, -30.0, 1.0], [-2.0, 30.0, 1.0], [-1.0, 30.0, 1.0], [1.0, -30.0, 1.0]], dtype=np.float32)


@pytest.fixture
def small(tmp_path: Path) -> TensorBoardCurves:
    """A writer for two tasks (a, b; then c); b is unknown on one test image, c has no positive one."""

    def task(start: int, stop: int) -> TaskPlan:
        columns = np.arange(start, stop)
        return TaskPlan((start, stop), np.array([0]), columns, np.ones((1, stop - start), dtype=np.int8))

    groups = ClassGroups("counts", np.array([200, 50, 5]), np.array([0, 1, 2], dtype=np.int8))
    plan = StreamPlan(("a", "b", "c"), (task(0, 2), task(2, 3)), np.arange(4), TRUTH, "seen", groups)
    settings = {"rate": 0.5, "sizes": [1, 2], "nothing": None, "on": True}
    curves = TensorBoardCurves(tmp_path / RunFolder.events, History(plan), settings)
    curves.before_training(NO_MEMORY, [])
    return curves


def evaluate(curves: TensorBoardCurves, width: int) -> None:
    curves.history.add(SCORES[:, :width], width - 2)
    value = MetricValue(None, "mAP/seen", 50.0, width - 1)
    curves.after_eval_exp(NO_MEMORY, [value])


def test_precision_recall_counts_known_entries_of_probabilities(small: TensorBoardCurves, tmp_path: Path) -> None:
    evaluate(small, 3)
    events = read(tmp_path)
    assert [tag for tag in events.Tags()["tensors"] if tag.startswith("PR/")] == ["PR/a", "PR/b"]
    curve = make_ndarray(events.Tensors("PR/b")[0].tensor_proto)
    assert curve.shape == (6, PR_THRESHOLDS)  # true positives, false positives, true negatives, false negatives, P, R
    assert curve[:4, 0].tolist() == [1, 2, 0, 0]  # at 0 all three known entries are predicted
    assert curve[:4, 1].tolist() == [1, 0, 2, 0]
    middle = make_ndarray(events.Tensors("PR/a")[0].tensor_proto)[:, (PR_THRESHOLDS - 1) // 2]
    assert middle.tolist() == [1, 1, 1, 1, 0.5, 0.5]  # at 0.5 image 0 rightly, image 3 wrongly, image 2 not


def test_curves_of_all_classes_in_one_pass_are_those_of_torch_class_by_class() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.random((300, 7)).astype(np.float32).astype(np.float64)
    probabilities[:3] = [[0], [1], [0.5]]
    truth = rng.integers(-1, 2, probabilities.shape).astype(np.int8)
    found = pr_curves(probabilities, truth, PR_THRESHOLDS)
    for column, curve in enumerate(found):
        known = truth[:, column] >= 0
        expected = compute_curve(truth[known, column], probabilities[known, column], PR_THRESHOLDS)
        np.testing.assert_array_equal(curve, expected)


def test_precision_recall_curves_are_limited_and_of_the_same_classes_throughout() -> None:
    assert pr_columns(PR_CLASSES).tolist() == list(range(PR_CLASSES))
    many = pr_columns(1000)
    assert len(many) == len(set(many.tolist())) == PR_CLASSES
    assert (many[0], many[-1]) == (0, 999)


@pytest.mark.parametrize(("pictures", "drawn"), [("every", True), ("last", False), ("none", False)])
def test_pictures_and_curves_are_drawn_after_the_tasks_that_are_asked_for(
    pictures: str, drawn: bool, small: TensorBoardCurves, tmp_path: Path
) -> None:
    small.pictures = pictures
    evaluate(small, 2)
    tags = read(tmp_path).Tags()
    assert bool(tags["images"]) == any(tag.startswith("PR/") for tag in tags["tensors"]) == drawn


def test_the_session_does_not_end_before_the_last_task(small: TensorBoardCurves, tmp_path: Path) -> None:
    evaluate(small, 2)
    assert set(hparams(read(tmp_path))) == {"experiment", "session_start_info"}


def test_settings_of_every_type_are_written(small: TensorBoardCurves, tmp_path: Path) -> None:
    values = hparams(read(tmp_path))["session_start_info"].session_start_info.hparams
    assert set(values) == {"rate", "sizes", "on"}
    assert values["sizes"].string_value == "[1, 2]"


def test_a_pass_inside_a_task_or_over_another_stream_draws_nothing(small: TensorBoardCurves, tmp_path: Path) -> None:
    small.history.add(SCORES, 1)
    small.after_eval_exp(NO_MEMORY, [MetricValue(None, "epoch/mAP_seen", 50.0, 1)])
    small.after_eval_exp(NO_MEMORY, [])
    events = read(tmp_path)
    assert events.Tags()["images"] == []
    assert not any(tag.startswith("PR/") for tag in events.Tags()["tensors"])


def test_metrics_lines_hold_nothing_that_varies_between_equal_runs(lines: list[dict]) -> None:
    assert {key for line in lines for key in line} == {"phase", "task", "step", "values"}
    assert [line["phase"] for line in lines] == ["train", "train", "eval"] * 3


def test_nan_is_null_wherever_it_hides() -> None:
    content = {"a": [1.5, float("nan")], "b": {"c": (np.float64("nan"), np.int64(3))}, "d": float("inf")}
    assert finite_or_null(content) == {"a": [1.5, None], "b": {"c": [None, 3]}, "d": None}
