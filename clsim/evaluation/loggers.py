"""Where metric values go: `metrics.jsonl` and TensorBoard event files, with the same tags and steps."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from avalanche.evaluation.metric_results import MetricValue
from avalanche.logging import BaseLogger
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from clsim.evaluation.history import History


def finite_or_null(value: Any) -> Any:
    """The value with every NaN and infinity replaced by None: strict JSON has no other word for undefined."""
    if isinstance(value, dict):
        return {key: finite_or_null(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_null(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


class MetricsFile(BaseLogger):
    """Appends one line for each epoch and each evaluation to a JSON Lines file.

    A line is {"phase": "train" | "eval", "task": t, "step": s, "values": {tag: value or null}}. Nothing in it varies
    between equal runs.
    """

    def __init__(self, path: Path, listener: Callable[[dict[str, Any]], None] | None = None) -> None:
        super().__init__()
        self.path = path
        self.listener = listener

    def after_training_epoch(self, strategy: Any, metric_values: list[MetricValue], **kwargs: Any) -> None:
        self._write("train", strategy.position.task, metric_values)

    def after_eval_exp(self, strategy: Any, metric_values: list[MetricValue], **kwargs: Any) -> None:
        if metric_values:
            self._write("eval", metric_values[0].x_plot - 1, metric_values)

    def _write(self, phase: str, task: int, metric_values: list[MetricValue]) -> None:
        values = {metric.name: metric.value for metric in metric_values}
        line = finite_or_null({"phase": phase, "task": task, "step": metric_values[0].x_plot, "values": values})
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
        if self.listener is not None:
            self.listener(line)


class TensorBoardCurves(BaseLogger):
    """Writes the scalars of `metrics.jsonl` as TensorBoard curves, R as an image, and a layout of combined charts.

    Undefined values are left out, because a NaN breaks TensorBoard's smoothing.
    """

    def __init__(self, folder: Path, history: History) -> None:
        super().__init__()
        self.writer = SummaryWriter(str(folder))
        self.history = history
        self.writer.add_custom_scalars(_layout())

    def log_single_metric(self, name: str, value: Any, x_plot: int) -> None:
        if isinstance(value, int | float) and math.isfinite(value):
            self.writer.add_scalar(name, value, x_plot)

    def after_eval_exp(self, strategy: Any, metric_values: list[MetricValue], **kwargs: Any) -> None:
        if metric_values:
            self.writer.add_image("R", matrix_image(self.history.matrix()), metric_values[0].x_plot, dataformats="HWC")
            self.writer.flush()

    def close(self) -> None:
        """Flush and close the event file."""
        self.writer.close()


def matrix_image(matrix: NDArray[np.float64]) -> NDArray[np.uint8]:
    """R [T, T] in percent as a picture, uint8 [H, W, 3]: viridis from 0 to 100, undefined entries light grey."""
    colors = matplotlib.colormaps["viridis"](np.nan_to_num(matrix) / 100)[..., :3]
    colors[np.isnan(matrix)] = 0.92
    cell = max(1, 320 // len(matrix))
    return (colors * 255).round().astype(np.uint8).repeat(cell, axis=0).repeat(cell, axis=1)


def _layout() -> dict[str, Any]:
    return {
        "clsim": {
            "mAP, seen classes": ["Multiline", ["mAP/seen"]],
            "mAP of each task": ["Multiline", [r"mAP/task_\d+"]],
            "forgetting of each task": ["Multiline", [r"forgetting/.*"]],
            "head, medium, tail mAP": ["Multiline", [r"groups/.*_mAP"]],
            "head, medium, tail forgetting": ["Multiline", [r"groups/.*_forgetting"]],
            "loss terms": ["Multiline", [r"loss/.*"]],
        }
    }
