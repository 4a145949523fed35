"""The event files, read back with TensorBoard's own reader."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from clsim.evaluation.loggers import finite_or_null
from clsim.evaluation.pictures import class_bars, matrix_image


@pytest.fixture(scope="module")
def events(finished_run: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(finished_run), size_guidance={"scalars": 0, "images": 0})
    return accumulator.Reload()


@pytest.fixture(scope="module")
def lines(finished_run: Path) -> list[dict]:
    return [json.loads(line) for line in (finished_run / "metrics.jsonl").read_text().splitlines()]


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
    assert {"groups/head_mAP", "groups/tail_mAP", "groups/tail_forgetting", "AP/0", "AP/9", "memory/rows"} <= tags


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
    images = events.Images("R")
    assert [image.step for image in images] == [1, 2, 3]
    assert images[0].width == images[0].height > 100


def test_a_layout_combines_curves(events: EventAccumulator) -> None:
    assert "custom_scalars__config__" in events.Tags()["tensors"]


def test_metrics_lines_hold_nothing_that_varies_between_equal_runs(lines: list[dict]) -> None:
    assert {key for line in lines for key in line} == {"phase", "task", "step", "values"}
    assert [line["phase"] for line in lines] == ["train", "train", "eval"] * 3


def test_undefined_entries_of_the_matrix_are_grey() -> None:
    image = matrix_image(np.array([[0.0, np.nan], [100.0, 50.0]]))
    assert image.dtype == np.uint8
    assert image[0, -1].tolist() == [235, 235, 235]
    assert len({tuple(image[y, x]) for y, x in [(0, 0), (0, -1), (-1, 0), (-1, -1)]}) == 4


def test_nan_is_null_wherever_it_hides() -> None:
    content = {"a": [1.5, float("nan")], "b": {"c": (np.float64("nan"), np.int64(3))}, "d": float("inf")}
    assert finite_or_null(content) == {"a": [1.5, None], "b": {"c": [None, 3]}, "d": None}
