"""The TensorBoard event file of a run: curves, pictures, precision-recall curves, hyperparameters."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from avalanche.evaluation.metric_results import MetricValue
from avalanche.logging import BaseLogger
from numpy.typing import NDArray
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch.utils.tensorboard import summary

from clsim.evaluation.event_file import EventFile, scalars
from clsim.evaluation.history import History
from clsim.evaluation.inside_tasks import kind_inside
from clsim.evaluation.memory_labels import MemoryLabels
from clsim.evaluation.pictures import class_bars, is_pictured, label_block_image, matrix_image, reliability_image
from clsim.training.template import MultiLabelTemplate
from clsim.vocabulary import AVERAGE_MAP, MEAN_FORGETTING, SEEN_MAP, group_map_tag

FINAL_METRICS = (SEEN_MAP, AVERAGE_MAP, MEAN_FORGETTING, group_map_tag("tail"))
"""Curves whose last point is a column of the HParams page: last mAP, avg mAP, forgetting, tail mAP."""
FIRST_COLUMNS = ("strategy", "seed")
"""Hyperparameters that the HParams page shows first."""
PR_THRESHOLDS = 51
"""Points of a precision-recall curve; 80 classes after one task take about 100 kB."""
PR_CLASSES = 80
"""Precision-recall curves of a run at most: TensorBoard's page draws a chart for each."""


class TensorBoardCurves(BaseLogger):
    """Writes the scalars of `metrics.jsonl` as TensorBoard curves, and a layout of combined charts.

    After the tasks that `pictures` names also R, the AP of each class and the label block matrix of a memory as
    pictures, and precision-recall curves of seen classes. After the last one a reliability diagram; DECIDED: not after
    each, because drawing it takes longer than all its numbers.

    Undefined values are left out, because a NaN breaks TensorBoard's smoothing.

    A file that is there is continued.

    Args:
        path: of the event file.
        history: where the scores and matrices are.
        hparams: name -> value for the HParams page; what is no number or text is written as JSON.
        pictures: after which tasks, see `is_pictured`.
    """

    def __init__(
        self, path: Path, history: History, hparams: Mapping[str, Any] | None = None, pictures: str = "sparse"
    ) -> None:
        super().__init__()
        self.events = EventFile(path)
        self.history = history
        self.pictures = pictures
        self._scalars: dict[int, list[tuple[str, float]]] = {}
        # Not `add_hparams`: that makes a run of its own in a subfolder, apart from the curves.
        *self._hparams, self._end = _hparams(hparams or {})

    def before_training(self, template: MultiLabelTemplate, metric_values: list[MetricValue], **kwargs: Any) -> None:
        if template.position.task == 0 and self.events.begin():
            charts = _charts(
                inside=None if template.score_every == "task" else kind_inside(template),
                single_label=self.history.plan.single_label,
            )
            for head in (summary.custom_scalars({"clsim": charts}), *self._hparams):
                self.events.add(head)

    def log_single_metric(self, name: str, value: Any, x_plot: int) -> None:
        if isinstance(value, int | float) and math.isfinite(value):
            self._scalars.setdefault(x_plot, []).append((name, value))

    def log_metrics(self, metric_values: list[MetricValue]) -> None:
        """Write all values of a step as one event: a record of each would cost more than the values."""
        super().log_metrics(metric_values)
        for step, values in self._scalars.items():
            self.events.add(scalars(values), step)
        self._scalars.clear()

    def after_eval_exp(self, template: MultiLabelTemplate, metric_values: list[MetricValue], **kwargs: Any) -> None:
        step = next((metric.x_plot for metric in metric_values if metric.name == SEEN_MAP), None)
        if step is None:  # inside a task, or another stream
            return
        plan, history = self.history.plan, self.history
        if is_pictured(self.pictures, step, len(plan.tasks)):
            self._draw(template, step)
        if history.last == len(plan.tasks) - 1:
            self.events.add(self._end)

    def _draw(self, template: MultiLabelTemplate, step: int) -> None:
        plan, history = self.history.plan, self.history
        best = np.fmax.reduce(history.ap[: history.last + 1])
        bars = class_bars(plan.class_names, 100 * history.ap[history.last], 100 * best, plan.groups.group)
        self.events.picture("pictures/R", matrix_image(history.matrix()), step)
        self.events.picture("pictures/AP of each class", bars, step)
        memory_labels = MemoryLabels.of(template)
        if memory_labels is not None:
            picture = label_block_image(memory_labels.blocks, [f"task {t}" for t in range(step)])
            self.events.picture("pictures/labels of the memory", picture, step)
        self._precision_recall(step)
        if history.last == len(plan.tasks) - 1 and history.reliability is not None:
            self.events.picture("pictures/reliability", reliability_image(history.reliability), step)

    def _precision_recall(self, step: int) -> None:
        """On the whole test set, as `per_class_AP/<class>`; a class without a positive has no curve."""
        scores, plan = self.history.scores, self.history.plan
        assert scores is not None
        columns = pr_columns(plan.n_classes)
        columns = columns[columns < scores.shape[1]]
        truth = plan.test_truth[:, columns]
        probabilities = torch.from_numpy(scores[:, columns]).double().sigmoid().numpy()
        curves = pr_curves(probabilities, truth, PR_THRESHOLDS)
        for place in np.flatnonzero((truth == 1).any(axis=0)).tolist():
            name = f"PR/{plan.class_names[columns[place]]}"
            tp, fp, tn, fn, precision, recall = curves[place]
            curve = summary.pr_curve_raw(name, tp, fp, tn, fn, precision, recall, num_thresholds=PR_THRESHOLDS)
            self.events.add(curve, step)


def pr_columns(classes: int) -> NDArray[np.int64]:
    """Return the columns whose precision-recall curves are kept, int64, ascending: at most PR_CLASSES, evenly spread.

    DECIDED: the same after every task and in every run of a stream, so that curves can be laid over each other.
    """
    return np.linspace(0, classes - 1, min(classes, PR_CLASSES)).round().astype(np.int64)


def pr_curves(probabilities: NDArray[np.float64], truth: NDArray[np.int8], points: int) -> NDArray[np.float64]:
    """Return what TensorBoard's `pr_curve` computes, of all classes in one pass, float64 [K, 6, points].

    The six rows are true positives, false positives, true negatives, false negatives, precision and recall.

    Args:
        probabilities: float64 [M, K], 0..1.
        truth: int8 [M, K], 1 present, 0 absent, -1 unknown and left out.
        points: thresholds, evenly spread from 0 to 1.
    """
    classes = truth.shape[1]
    buckets = np.floor(probabilities * (points - 1)).astype(np.int64) + points * np.arange(classes)
    counts = [
        np.bincount(buckets[truth == value], minlength=points * classes).reshape(classes, points) for value in (1, 0)
    ]
    tp, fp = (np.cumsum(part[:, ::-1], axis=1)[:, ::-1].astype(np.float64) for part in counts)
    tn, fn = fp[:, :1] - fp, tp[:, :1] - tp
    return np.stack([tp, fp, tn, fn, tp / np.maximum(1e-7, tp + fp), tp / np.maximum(1e-7, tp + fn)], axis=1)


def _hparams(values: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """Return the summaries of the HParams page: its columns, the values of this run, and its end."""
    columns, begin, end = summary.hparams(
        {name: _plain(value) for name, value in values.items()}, dict.fromkeys(FINAL_METRICS)
    )
    content = HParamsPluginData.FromString(columns.value[0].metadata.plugin_data.content)
    for column in content.experiment.hparam_infos:
        column.differs = column.name in FIRST_COLUMNS  # the page puts these first, the others follow by name
    columns.value[0].metadata.plugin_data.content = content.SerializeToString()
    return columns, begin, end


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else json.dumps(value)


def _charts(inside: str | None, single_label: bool) -> dict[str, Any]:
    """Charts of several curves; TensorBoard matches an expression from the start of a tag.

    Those that no run of the scenario has are left out. Those of a memory are not: TensorBoard shows the charts of the
    first run by name, and another may have one.
    """
    charts = {
        "mAP, seen classes": [f"{SEEN_MAP}$", f"{AVERAGE_MAP}$"],
        "mAP of each task": [r"mAP/task_\d+"],
        "forgetting of each task": [r"forgetting/.*"],
        "head, medium, tail mAP": [r"groups/.*_mAP"],
        "head, medium, tail forgetting": [r"groups/.*_forgetting"],
        "CF1 at each threshold": [r"threshold_[\d.e-]+/CF1$"],
        "CF1, harmonic, at each threshold": [r"threshold_[\d.e-]+/CF1_harmonic$"],
        "OF1 at each threshold": [r"threshold_[\d.e-]+/OF1$"],
        "FPR and FNR at each threshold": [r"threshold_[\d.e-]+/(FPR|FNR)$"],
        "Hamming loss at each threshold": [r"threshold_[\d.e-]+/Hamming$"],
        "classes predicted as often as training shows them": ["threshold_prevalence/(CF1|CF1_harmonic|OF1)$"],
        "AUC and LRAP": [r"ranking/.*"],
        "calibration error": [r"calibration/.*"],
        "old classes: predicted and truly present": [r"threshold_[\d.e-]+/predicted_old$", "present/old$"],
        "new classes: predicted and truly present": [r"threshold_[\d.e-]+/predicted_new$", "present/new$"],
        "labels of the memory": ["memory/(coverage|precision|FPR|FNR)$"],
        "ones in the memory": ["memory/(ones|hidden)_.*"],
    }
    if inside is not None:
        charts["mAP inside the tasks"] = [rf"{inside}/mAP_.*"]
    if single_label:
        charts["top-1 accuracy"] = [r"accuracy/.*"]
    charts["loss terms"] = [r"loss/.*"]
    return {title: ["Multiline", tags] for title, tags in charts.items()}
